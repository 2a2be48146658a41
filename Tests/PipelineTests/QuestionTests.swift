// The parts of questions to the history that ask nobody.

import Foundation
import Learner
import Pipeline
import Testing

@Suite struct QuestionTests {
    /// Protects: times mean what they say, in every form, and what is no time is refused.
    @Test func times() throws {
        let now = HistoryTime(microseconds: 1_000_000_000_000_000)
        func seconds(_ text: String) -> Double? { HistoryTime(text, now: now).map { Double($0.microseconds) / 1e6 } }
        #expect(seconds("1970-01-01T00:00:00Z") == 0)
        #expect(seconds("2000-02-29") == 951_782_400)
        #expect(seconds("2026-11-22T13:00:00Z") == 1_795_352_400)
        #expect(seconds("2026-11-22T13:00") == seconds("2026-11-22 13:00:00.000Z"))
        #expect(seconds("2026-11-22T13:00:00+02:00") == 1_795_345_200.0)
        #expect(seconds("2026-11-22T13:00:00-0530") == 1_795_372_200.0)
        #expect(seconds("2026-11-22T13:00:00.1234567Z") == 1_795_352_400.123456)
        #expect(seconds("90s") == 1e9 - 90 && seconds("30m") == 1e9 - 1800 && seconds("2h") == 1e9 - 7200 && seconds("7d") == 1e9 - 604_800)
        for text in [
            "", "now", "2", "2w", "-2h", "2026-13-01", "2026-00-01", "2026-02-29", "2100-02-29", "2026-01-32", "2026-11-22T24:00Z", "2026-11-22T13:60Z",
            "2026-11-22T13:00:00+15:00", "2026-11-22T13Z", "1969-12-31", "22.11.2026", "٢h", "2026-11-22T13:00:00Z ",
        ] {
            #expect(seconds(text) == nil, "\(text)")
        }
        // Every day of four years, counted.
        var day = try #require(seconds("2023-12-31"))
        for year in 2024...2027 {
            for (month, days) in zip(1..., [31, year % 4 == 0 ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for number in 1...days {
                    day += 86_400
                    #expect(seconds(String(format: "%d-%02d-%02d", year, month, number)) == day)
                }
            }
        }
    }

    /// Protects: a page goes on where the one before ended, and no other text does.
    @Test func cursors() {
        let cursor = DriftCursor("62.1.9509.adwin.drift")
        #expect(cursor?.version == 62 && cursor?.partition == 1 && cursor?.offset == 9509 && cursor?.detector == "adwin" && cursor?.kind == "drift")
        #expect(cursor?.description == "62.1.9509.adwin.drift")
        for text in ["", "62", "62.1.9509", "62.1.9509.adwin", "62.-1.9509.adwin.drift", "62.1.9509.ad win.drift", "99999999999999999999.1.1.a.drift", "1.1.1.A.drift"] {
            #expect(DriftCursor(text) == nil, "\(text)")
        }
    }

    /// Protects: what two versions have in common is the newest version that led to both, and the way from there is complete.
    @Test func commonVersions() {
        // 11 forks from 4, 15 from 12, 21 from 12 too, 30 begins anew.
        let forks = [(30, 0), (11, 4), (21, 12), (15, 12)].map { Chain.Fork(version: $0.0, parent: $0.1) }
        func chain(_ version: UInt64) -> Chain { Chain(to: version, forks: forks) }
        let cases: [(UInt64, UInt64, UInt64)] = [(3, 9, 3), (9, 3, 3), (9, 12, 4), (17, 25, 12), (14, 17, 12), (25, 31, 0), (12, 17, 12), (17, 17, 17), (10, 11, 4)]
        for (one, other, common) in cases {
            #expect(chain(one).common(with: chain(other)) == common, "\(one), \(other)")
            #expect(chain(other).common(with: chain(one)) == common, "\(other), \(one)")
        }
        #expect(chain(17).after(3) == [4...4, 11...12, 15...17])
        #expect(chain(17).after(12) == [15...17])
        #expect(chain(17).after(17).isEmpty)
        #expect(chain(17).after(0) == chain(17).segments)
    }

    /// Protects: a figure that only one version has is shown, and has no change.
    @Test func changesOfFigures() throws {
        func metrics(_ window: String) throws -> VersionMetrics {
            try JSONDecoder().decode(VersionMetrics.self, from: Data("{\"window\":\(window),\"refused\":{},\"unknown_fields\":0}".utf8))
        }
        let changes = Difference.changes(
            try metrics(#"{"events":10,"logloss":0.5,"auc":0.75}"#), try metrics(#"{"events":12,"logloss":0.25,"accuracy":0.5}"#))
        #expect(changes.map(\.metric) == ["logloss", "accuracy", "auc"])
        #expect(changes.allSatisfy { $0.stretch == "window" })
        #expect(changes.map(\.change) == [-0.25, nil, nil])
        #expect(changes[2].from == 0.75 && changes[2].to == nil)
    }

    private static let file = """
        pipeline: named
        source: {kafka: {topic: feedback}, label: {field: clicked}}
        features:
          - {field: site, kind: categorical}
          - {field: user_id, kind: categorical}
          - {field: price, kind: numeric, scale: standard}
          - {field: age, kind: buckets, edges: [18, 30, 65]}
          - {field: tags, kind: set}
          - {field: interests, kind: map}
          - {field: title, kind: text, words: [1, 2], characters: 3}
          - {field: vector, kind: dense, size: 4}
          - cross: [site, price]
          - cross: [site, user_id]
        model: {bits: 16}
        """

    /// Protects: the name that an event gives a weight finds that weight again, for every kind of feature.
    @Test func namesFindTheirWeights() throws {
        let definition = try PipelineDefinition.parse(Self.file, file: "named.yaml", environment: [:], bundledSchemas: [:])
        let names = FeatureNames(definition)
        names.add(
            Array(
                #"{"site":"a=b","user_id":7,"price":2.5,"age":40,"tags":["x","y"],"interests":{"art":0.5},"title":"Buy now","vector":[1,2,3,4],"clicked":1}"#
                    .utf8))
        let expected = [
            "constant", "site=a=b", "user_id=7", "price", "age=2", "tags=x", "tags=y", "interests=art", "title=buy", "title=buy now", "title~buy", "site=a=b*price",
            "site=a=b*user_id=7", "vector[3]",
        ]
        for name in expected {
            let index = try FeatureNames.index(of: name, definition)
            #expect(names.name(index) == name)
        }
        #expect(try FeatureNames.index(of: "index:12", definition) == 12)
        // The cross, and not the site "b*user_id=7"; where there is no such cross, that site.
        #expect(try FeatureNames.index(of: "site=b*user_id=7", definition) != Int(definition.plan.index(categorical: "site", value: "b*user_id=7")))
        #expect(try FeatureNames.index(of: "site=b*age=7", definition) == Int(definition.plan.index(categorical: "site", value: "b*age=7")))
        // Values that no event had are found, too.
        #expect(try FeatureNames.index(of: "site=never", definition) != FeatureNames.index(of: "site=seen", definition))
        for wrong in ["site", "sites=a", "age=4", "age=x", "vector[4]", "vector", "price=3", "index:-1", "index:99999999", ""] {
            let error = #expect(throws: FeatureQuestionError.self, "\(wrong)") { _ = try FeatureNames.index(of: wrong, definition) }
            #expect(error?.description.contains("site=VALUE") != false || error?.description.contains("index:0") == true)
        }
    }
}
