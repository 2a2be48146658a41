import Crypto
import Foundation
import TestSupport
import Testing

extension Integration {
    /// The command line as a program sees it: statuses, one clear line, JSON keys.
    @Suite struct CommandLineInterface {
        /// Protects: wrong usage is 64, so that scripts can tell it from failure.
        @Test func wrongUsageIs64() async throws {
            try await Loop.with(.electricity, tables: false) { loop in
                try await loop.freshet("no-such-command", status: 64)
                try await loop.freshet("evaluate", status: 64)
                try await loop.freshet("feed", loop.file, "x.csv", "--rate", "-1", status: 64)
                try await loop.freshet("generate", "clicks", "--drift", "2", status: 64)
                try await loop.freshet("run", loop.file, "--http", "nowhere", status: 64)
                try await loop.freshet("migrate", status: 64)
                try await loop.freshet("detect", "adwin", "--delta", "lots", status: 64)
            }
        }

        /// Protects: what failed says so in one line, with what to do, and the status is 1.
        @Test func failuresAreClear() async throws {
            try await Loop.with(.electricity, tables: false) { loop in
                func fails(_ arguments: String..., with words: [String], environment: [String: String] = [:]) async throws {
                    let child = try loop.start(arguments, environment: environment)
                    let status = try await child.wait(timeout: .seconds(60))
                    let text = child.standardError + child.standardOutput
                    #expect(status == 1, "\(arguments): \(text)")
                    for word in words { #expect(text.contains(word), "\(arguments): \(text)") }
                    #expect(!text.contains("PostgresError(") && !text.contains("KafkaError("), "\(text)")
                }
                try await fails("evaluate", loop.file, "\(loop.folder)/absent.csv", with: ["absent.csv"])
                try await fails("evaluate", "\(loop.folder)/absent.yaml", "x.csv", with: ["absent.yaml", "does not exist"])
                let bad = "\(loop.folder)/bad.yaml"
                try String(contentsOfFile: loop.file, encoding: .utf8).replacingOccurrences(of: "bits: 10", with: "bits: many")
                    .write(toFile: bad, atomically: true, encoding: .utf8)
                try await fails("check", bad, with: ["bad.yaml:"])
                let checked = try loop.start(["check", bad])
                _ = try await checked.wait()
                #expect((checked.standardError + checked.standardOutput).contains(/bad\.yaml:\d+:\d+/))
                // Tables that nobody made.
                try await fails("run", loop.file, "--http", "127.0.0.1:0", with: ["freshet migrate"])
                for command in ["log", "show", "drift", "nodes", "verify"] { try await fails(command, loop.file, with: ["freshet migrate"]) }
                try await fails("log", loop.file, with: ["DATABASE_URL"], environment: ["DATABASE_URL": ""])
                try await fails("log", loop.file, with: ["connect"], environment: ["DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"])
                try await loop.freshet("migrate", loop.file)
                try await fails("show", loop.file, "99", with: ["no versions yet"])
                try await fails("verify", loop.file, "--version", "99", with: ["no version"])
                try await fails("run", loop.file, "--http", "127.0.0.1:0", with: ["127.0.0.1:1"], environment: ["KAFKA_BROKERS": "127.0.0.1:1"])
            }
        }

        /// Protects: `--json` is an interface, its keys stay.
        @Test func keysOfJSON() async throws {
            try await Loop.with(.clicks, replacing: ["{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "bits: 20": "bits: 14"]) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                try await loop.freshet("generate", "clicks", "--events", "2000", "--seed", "1").write(toFile: file, atomically: true, encoding: .utf8)
                let evaluation = try await loop.json("evaluate", loop.file, file)
                #expect(evaluation.keys.isSuperset(of: ["examples", "dead_letters", "logloss", "accuracy", "auc", "examples_per_s", "image_hash"]))
                #expect(try await loop.json("log", loop.file)["versions"].array.isEmpty)
                try await loop.freshet("feed", loop.file, file)
                let learner = try loop.learner()
                try await loop.untilRecorded(2000, by: learner)
                #expect(try await learner.terminate() == 0)
                let verification = try await loop.json("verify", loop.file)
                #expect(verification.keys.isSuperset(of: ["version", "image_hash", "rebuilt_hash", "equal"]))
                #expect(verification["image_hash"].string == evaluation["image_hash"].string)
                let version = try #require(try await loop.json("log", loop.file)["versions"].array.first)
                #expect(
                    version.keys.isSuperset(of: [
                        "version", "parent", "created_at", "learned", "refused", "image_hash", "metrics", "snapshot", "epoch", "drift_events",
                    ]))
                let shown = try await loop.json("show", loop.file)
                #expect(shown.keys.isSuperset(of: version.keys.union(["runs", "commands", "positions", "input_hash", "trace_hash", "drift"])))
                #expect(try await loop.json("nodes", loop.file).keys == ["nodes"])
                #expect(try await loop.json("drift", loop.file).keys == ["drift"])
                // As text, too.
                for command in ["log", "show", "drift", "nodes", "verify"] { #expect(try await !loop.freshet(command, loop.file).isEmpty) }
            }
        }

        /// Protects: the bundled pipelines pass their own tests.
        @Test(arguments: ["electricity", "clicks", "demo"])
        func bundledPipelinesPass(_ name: String) async throws {
            try await Loop.with(.electricity, tables: false) { loop in
                let result = try await loop.json("check", "\(TestData.root)/pipelines/\(name).yaml")
                #expect(result["valid"].bool == true)
            }
        }

        /// Protects: `detect` fires where River's detectors do (the recorded answers on this stream), takes their parameters as options, and tells the
        /// options that a kind has not.
        @Test func detectsWhereRiverDoes() async throws {
            try await Loop.with(.clicks, tables: false) { loop in
                var x = 42
                let numbers = (0..<5000).map { index in
                    x = (1_103_515_245 * x + 12345) % (1 << 31)
                    return Double(x) / Double(1 << 31) < (index < 2500 ? 0.2 : 0.5) ? "1" : "0"
                }
                let file = "\(loop.folder)/numbers"
                try numbers.joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
                let child = try loop.start(["detect", "adwin", "--json"], input: file)
                #expect(try await child.wait() == 0)
                #expect(try JSON(child.standardOutput)["drift"].array.map(\.int) == [2559])
                #expect(try JSON(child.standardOutput).keys == ["drift", "warning"])
                let others: [(words: [String], drift: [Int], warnings: Int)] = [
                    (["ddm"], [2649], 115), (["page-hinkley", "--min-instances", "30"], [2652], 0), (["--drift-confidence=0.001", "hddm_a"], [2527], 3),
                    (["hddm-w", "--lambda-val", "0.05"], [2524, 4651], 29), (["fhddm"], [], 0),
                ]
                for (words, drift, warnings) in others {
                    let child = try loop.start(["detect"] + words + ["--json"], input: file)
                    #expect(try await child.wait() == 0)
                    #expect(try JSON(child.standardOutput)["drift"].array.map(\.int) == drift, "\(words)")
                    #expect(try JSON(child.standardOutput)["warning"].array.count == warnings, "\(words)")
                }
                for words in [["ddm", "--delta", "0.1"], ["ddm", "--warm-start", "x"], ["adwni"], [], ["kswin", "--stat-size", "60"]] {
                    #expect(try await loop.start(["detect"] + words, input: file).wait() == 64, "\(words)")
                }
                try "1\n0\nNaN\n".write(toFile: file, atomically: true, encoding: .utf8)
                let bad = try loop.start(["detect", "adwin"], input: file)
                #expect(try await bad.wait() == 1)
                #expect(bad.standardError.contains("line 3"))
            }
        }

        /// Protects: a seed's events are the same bytes everywhere and for ever.
        @Test func generatedClicksAreTheSameBytes() async throws {
            try await Loop.with(.clicks, tables: false) { loop in
                let text = try await loop.freshet("generate", "clicks", "--events", "1000", "--seed", "1")
                let digest = SHA256.hash(data: Data(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                #expect(digest == "2aefd09dd61a5eb63e6618c25f6f8ffc9660bd4df858f6ce8bda6248462c9027")
            }
        }
    }
}
