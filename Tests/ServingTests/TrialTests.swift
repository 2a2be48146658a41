import Foundation
import Model
import Serving
import Synchronization
import Testing

/// What the learner sends about trials. Their sequences are their own.
extension TestKafka {
    /// A version on trial at the nodes of these names: the learner's present image.
    static func trial(_ sequence: UInt64, of version: UInt64, by learner: TestLearner, epoch: UInt64 = 1, at audience: [String]) -> Publication {
        var image = learner.whole()
        (image.epoch, image.sequence, image.version, image.audience) = (epoch, sequence, version, audience)
        return image
    }

    mutating func announce(_ image: Publication) throws {
        var notice = image
        notice.content = .notice
        try send(notice, to: "clicks.canary")
    }

    mutating func begin(_ image: Publication) throws {
        try announce(image)
        try send(image, to: "clicks.canary")
    }

    /// Says that the trial before `sequence` is over.
    mutating func end(_ sequence: UInt64, by learner: TestLearner, epoch: UInt64 = 1) throws {
        try announce(Self.trial(sequence, of: learner.version, by: learner, epoch: epoch, at: []))
    }
}

/// A version on trial is served by the nodes that it is for, while it is on trial, and by nobody else.
@Suite struct TrialTests {
    private let request = Array("{\"instances\":[{\"site\":\"s1\",\"price\":3.5}]}".utf8)

    /// What the nodes of a test told.
    private final class Reports: Sendable {
        private let versions = Mutex<[UInt64]>([])
        func add(_ report: NodeReport) { versions.withLock { $0.append(report.version) } }
        var all: [UInt64] { versions.withLock { $0 } }
    }

    /// A node with trials and a stable image of version 20; the learner has gone on to version 50.
    private func withTrials(
        reports: Reports = Reports(), now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }, before: (inout TestKafka, TestLearner) throws -> Void = { _, _ in },
        _ body: (inout TestKafka, TestLearner, NodeClient) async throws -> Void
    ) async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        for _ in 0..<2 { _ = learner.patch() }
        try kafka.send(learner.whole())
        for _ in 0..<3 { _ = learner.patch() }
        try before(&kafka, learner)
        try await withNode([kafka.model(canaryTopic: "clicks.canary")], onReport: { reports.add($0) }, now: now) { _, client in
            try await eventually("there is a stable image, and it is reported") { try await client.get("/readyz").status == 200 && !reports.all.isEmpty }
            try await body(&kafka, learner, client)
        }
    }

    private func ask(_ client: NodeClient, _ version: String? = nil) async throws -> NodeClient.Answer {
        try await client.post("/v1/models/clicks\(version.map { "/versions/\($0)" } ?? ""):predict", request)
    }

    private func untilAnswered(by version: UInt64, _ client: NodeClient) async throws {
        try await eventually("version \(version) answers") { try await ask(client).version == version }
    }

    private func untilState(_ state: String, _ client: NodeClient) async throws {
        try await eventually("the state is: \(state)") { try await client.get("/v1/models/clicks").text.contains("\"canary_state\":\"\(state)\"") }
    }

    /// Protects: from a trial's beginning to its end the node answers by the version on trial, says so everywhere, and gives the stable version to who
    /// asks for it; after the end nothing of it is left.
    @Test func trial() async throws {
        let reports = Reports()
        try await withTrials(reports: reports) { kafka, learner, client in
            try await untilState("no version is on trial", client)
            #expect(try await ask(client).version == 20)
            var answer = try await ask(client, "canary")
            #expect(answer.status == 404 && answer.text.contains("no version of model clicks is on trial on this node: no version is on trial"), "\(answer.text)")
            #expect(try await ask(client, "50").status == 404)

            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["other", "tested"]))
            try await untilAnswered(by: 50, client)
            answer = try await ask(client)
            let probability = learner.probability("{\"site\":\"s1\",\"price\":3.5}")
            #expect(answer.text == "{\"predictions\":[\(probability)],\"model_name\":\"clicks\",\"model_version\":\"50\"}")
            #expect(try await ask(client, "canary").text == answer.text)
            #expect(try await ask(client, "50").text == answer.text)
            let stable = try await ask(client, "stable")
            #expect(stable.version == 20 && stable.text.contains(#""model_version":"20""#) && stable.text != answer.text)
            #expect(try await ask(client, "20").text == stable.text)
            answer = try await ask(client, "49")
            #expect(answer.status == 404)
            #expect(answer.text.contains("version 20 is, also by the name `stable`, and 50, which is on trial, also by the name `canary`"), "\(answer.text)")
            let tensor = Array(#"{"inputs":[{"name":"site","shape":[1],"datatype":"BYTES","data":["s1"]}]}"#.utf8)
            for (path, version) in [("", 50), ("/versions/stable", 20), ("/versions/canary", 50)] as [(String, UInt64)] {
                #expect(try await client.post("/v2/models/clicks\(path)/infer", tensor).version == version)
                #expect(try await client.post("/v1/models/clicks\(path):explain", request).version == version)
                #expect(try await client.get("/v2/models/clicks\(path)/ready").status == 200)
            }
            #expect(try await client.get("/v2/models/clicks").text.contains(#""versions":["20","50"]"#))
            let status = try await client.get("/v1/models/clicks").text
            #expect(status.contains(#""ready":true,"version":20,"#) && status.contains(#""canary_state":"version 50 is on trial on this node""#), "\(status)")
            #expect(status.contains(#""canary":{"version":50,"image_hash":"\#(learner.whole().hash)","publication":1,"epoch":1,"since_ms":"#), "\(status)")
            var metrics = try await client.get("/metrics").text
            #expect(metrics.contains("freshet_node_canary_version{model=\"clicks\"} 50\n") && metrics.contains("freshet_node_version{model=\"clicks\"} 20\n"))
            try await eventually("the trial is reported") { reports.all == [20, 50] }

            try kafka.end(2, by: learner)
            try await untilAnswered(by: 20, client)
            #expect(try await ask(client, "canary").status == 404)
            #expect(try await ask(client, "50").status == 404)
            #expect(try await client.get("/v2/models/clicks").text.contains(#""versions":["20"]"#))
            #expect(!(try await client.get("/v1/models/clicks").text.contains("\"canary\":")))
            metrics = try await client.get("/metrics").text
            #expect(!metrics.contains("freshet_node_canary_version{") && metrics.contains("freshet_node_refused_publications_total{model=\"clicks\"} 0\n"))
            try await eventually("its end is reported") { reports.all == [20, 50, 20] }
        }
    }

    /// Protects: a node that a trial is not for serves nothing of it; the audience may be another in the next trial, which needs no end in between.
    @Test func audiences() async throws {
        let reports = Reports()
        try await withTrials(reports: reports) { kafka, learner, client in
            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["other", "teste"]))
            try await untilState("version 50 is on trial on other nodes: other, teste", client)
            let answer = try await ask(client, "canary")
            #expect(answer.status == 404 && answer.text.contains("version 50 is on trial on other nodes: other, teste"))
            #expect(try await ask(client).version == 20)

            _ = learner.patch()
            try kafka.begin(TestKafka.trial(2, of: 60, by: learner, at: ["tested"]))
            try await untilAnswered(by: 60, client)
            _ = learner.patch()
            try kafka.begin(TestKafka.trial(3, of: 70, by: learner, at: ["tested", "other"]))
            try await untilAnswered(by: 70, client)
            #expect(try await ask(client, "60").status == 404)
            try kafka.begin(TestKafka.trial(4, of: 80, by: learner, at: ["other"]))
            try await untilAnswered(by: 20, client)
            try await untilState("version 80 is on trial on other nodes: other", client)
            try await eventually("its end is reported") { reports.all.last == 20 }
            #expect(Set(reports.all) == [20, 60, 70])
        }
    }

    /// Protects: who starts in a trial takes part in it.
    @Test func startInTheMiddle() async throws {
        try await withTrials(before: { kafka, learner in
            try kafka.begin(TestKafka.trial(1, of: 30, by: learner, at: ["tested"]))
            try kafka.end(2, by: learner)
            try kafka.begin(TestKafka.trial(4, of: 50, by: learner, at: ["tested"]))
        }) { _, _, client in
            try await untilAnswered(by: 50, client)
            #expect(try await ask(client, "30").status == 404)
        }
    }

    /// Protects: the image of a trial that is over is never served, though it is still there.
    @Test func startAfterTheEnd() async throws {
        let reports = Reports()
        try await withTrials(reports: reports, before: { kafka, learner in
            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["tested"]))
            try kafka.end(2, by: learner)
        }) { kafka, learner, client in
            try await untilState("no version is on trial", client)
            // What a learner sends that has lost its lease is no trial either.
            try kafka.end(1, by: learner, epoch: 3)
            try kafka.begin(TestKafka.trial(5, of: 50, by: learner, epoch: 2, at: ["tested"]))
            try await eventually("it is refused") { try await client.get("/metrics").text.contains("refused_publications_total{model=\"clicks\"} 1\n") }
            try kafka.begin(TestKafka.trial(2, of: 60, by: learner, epoch: 3, at: ["tested"]))
            try await untilAnswered(by: 60, client)
            try await eventually("it is reported") { reports.all.last == 60 }
            #expect(Set(reports.all) == [20, 60])
        }
    }

    /// Protects: a stable version that has overtaken the one on trial answers; that one is there for who asks for it, until its trial is over.
    @Test func overtaken() async throws {
        let reports = Reports()
        try await withTrials(reports: reports) { kafka, learner, client in
            try kafka.begin(TestKafka.trial(1, of: 45, by: learner, at: ["tested"]))
            try await untilAnswered(by: 45, client)
            // Publication 6, after a gap.
            try kafka.send(learner.patch())
            try kafka.send(learner.whole(followOffset: kafka.versionsEnd))
            try await untilAnswered(by: 60, client)
            #expect(try await ask(client, "canary").version == 45)
            #expect(try await ask(client, "45").version == 45)
            try await eventually("the change is reported") { reports.all.last == 60 }
            try kafka.end(2, by: learner)
            try await eventually("the trial is over") { try await ask(client, "canary").status == 404 }
            #expect(try await ask(client).version == 60)
        }
    }

    /// Protects: a damaged image, or one with another hash than was announced, is refused and the stable version goes on; the next good copy is taken.
    @Test func damagedImage() async throws {
        try await withTrials { kafka, learner, client in
            let image = TestKafka.trial(1, of: 50, by: learner, at: ["tested"])
            try kafka.announce(image)
            try kafka.send(image, to: "clicks.canary", damaged: true)
            func untilRefused(_ count: Int) async throws {
                try await eventually("\(count) are refused") {
                    try await client.get("/metrics").text.contains("refused_publications_total{model=\"clicks\"} \(count)\n")
                }
                #expect(try await ask(client).version == 20)
                #expect(try await client.get("/readyz").status == 200)
            }
            try await untilRefused(1)
            var wrong = image
            _ = learner.patch()
            wrong.content = learner.whole().content
            try kafka.send(wrong, to: "clicks.canary")
            try await untilRefused(2)
            #expect(try await client.get("/v1/models/clicks").text.contains("\"canary_state\":\"refused a publication: publication 1 gives hash"))
            // Neither is the image of another trial taken for it.
            try kafka.send(TestKafka.trial(1, of: 51, by: learner, at: ["tested"]), to: "clicks.canary")
            try kafka.send(image, to: "clicks.canary")
            try await untilAnswered(by: 50, client)
        }
    }

    /// Protects: a notice that cannot be read may have been the end, so it is taken for that.
    @Test func damagedNotice() async throws {
        try await withTrials { kafka, learner, client in
            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["tested"]))
            try await untilAnswered(by: 50, client)
            var end = TestKafka.trial(2, of: 50, by: learner, at: [])
            end.content = .notice
            try kafka.send(end, to: "clicks.canary", damaged: true)
            try await untilAnswered(by: 20, client)
        }
    }

    /// Protects: a node that cannot hear of a trial's end goes on with the trial for a while, not for ever; and takes part again when it can.
    @Test func kafkaGoesAway() async throws {
        let clock = Ahead()
        let reports = Reports()
        try await withTrials(reports: reports, now: { clock.now }) { kafka, learner, client in
            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["tested"]))
            try await untilAnswered(by: 50, client)
            try kafka.broker.setDown()
            try await Task.sleep(for: .milliseconds(300))
            clock.move(.seconds(20))
            try await Task.sleep(for: .milliseconds(600))
            #expect(try await ask(client).version == 50)
            clock.move(.seconds(20))
            try await untilAnswered(by: 20, client)
            #expect(try await client.get("/v1/models/clicks").text.contains("could not be read to its end for 30 s"))
            #expect(try await client.get("/readyz").status == 200)
            try kafka.broker.setUp()
            try await untilAnswered(by: 50, client)
            try await eventually("all of it is reported") { reports.all == [20, 50, 20, 50] }
        }
    }

    /// Protects: readiness is the stable model's alone, so a version on trial does not answer for a model that has no other.
    @Test func noStableImage() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["tested"]))
        try await withNode([kafka.model(canaryTopic: "clicks.canary")]) { _, client in
            try await eventually("the candidate is there") { try await ask(client, "canary").version == 50 }
            #expect(try await ask(client).status == 503)
            #expect(try await client.get("/readyz").status == 503)
        }
    }

    /// Protects: a learner whose definition is another one has no version on trial here, and its notice ends the trial that was.
    @Test func otherDefinition() async throws {
        try await withTrials { kafka, learner, client in
            try kafka.begin(TestKafka.trial(1, of: 50, by: learner, at: ["tested"]))
            try await untilAnswered(by: 50, client)
            learner.meaning = 78
            try kafka.begin(TestKafka.trial(2, of: 60, by: learner, epoch: 2, at: ["tested"]))
            try await untilAnswered(by: 20, client)
            try await untilState(
                "version 60 of another definition of this pipeline is on trial: give learner and nodes the same pipeline file", client)
        }
    }

    /// Protects: whatever the order in which notices come, only the newest counts, and none of a learner that has lost its lease.
    @Test func newestNotice() {
        let learner = TestLearner()
        func notice(_ sequence: UInt64, epoch: UInt64, at audience: [String]) -> Publication {
            var notice = TestKafka.trial(sequence, of: 1, by: learner, epoch: epoch, at: audience)
            notice.content = .notice
            return notice
        }
        var trial = Trial(meaning: 77)
        #expect(trial.notice(for: "n") == nil)
        #expect(trial.receive(notice(4, epoch: 2, at: ["n"])) == nil)
        #expect(trial.notice(for: "n")?.sequence == 4 && trial.notice(for: "m") == nil && trial.notice(for: nil) == nil)
        // Doubled, older, fenced off, no notice.
        #expect(trial.receive(notice(4, epoch: 2, at: [])) == nil)
        #expect(trial.receive(notice(3, epoch: 2, at: [])) == nil)
        #expect(trial.receive(notice(9, epoch: 1, at: [])) != nil)
        #expect(trial.receive(TestKafka.trial(5, of: 1, by: learner, epoch: 2, at: [])) != nil)
        #expect(trial.notice(for: "n")?.sequence == 4)
        #expect(trial.receive(notice(1, epoch: 3, at: [])) == nil)
        #expect(trial.notice(for: "n") == nil)
        #expect(trial.receive(notice(2, epoch: 3, at: ["n"])) == nil)
        trial.lost()
        #expect(trial.notice(for: "n") == nil)
        #expect(trial.receive(notice(1, epoch: 2, at: ["n"])) != nil)
        #expect(trial.notice(for: "n") == nil)
    }
}
