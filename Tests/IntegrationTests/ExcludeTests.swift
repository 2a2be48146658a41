import Foundation
import PostgresClient
import TestSupport
import Testing

extension Loop {
    /// Waits until partition 0 has been read up to an offset, in the newest version.
    func untilRead(_ offset: Int, by learner: ChildProcess, timeout: Duration = .seconds(90)) async throws {
        let connection = try connect()
        defer { connection.close() }
        var read: Int64 = -1
        try await until("offset \(offset) is read", timeout: timeout, state: { "\(read) is. \(learner.standardError)" }) {
            if let status = learner.exitStatus { throw TestFailure("the learner ended with \(status): \(learner.standardError)") }
            let rows = try connection.query("SELECT positions FROM freshet.versions ORDER BY version DESC LIMIT 1", timeout: .seconds(30))
            read = try rows.first?.intArray("positions").dropFirst().first ?? -1
            return read >= offset
        }
    }

    /// One number that the database says.
    func number(_ query: String) throws -> Int {
        let connection = try connect()
        defer { connection.close() }
        return Int(try connection.query("SELECT (\(query))::bigint AS number", timeout: .seconds(30)).first?.int("number") ?? -1)
    }

    /// Clicks in a file, one a line.
    func clicks(_ events: Int, seed: Int) async throws -> [Substring] {
        try await freshet("generate", "clicks", "--events", "\(events)", "--seed", "\(seed)").split(separator: "\n")
    }

    func write(_ lines: some Collection<Substring>, to name: String) throws -> String {
        let path = "\(folder)/\(name)"
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }
}

extension Integration {
    /// Poison undone: events are taken out of the lineage, and what is left is as if they had never been there.
    @Suite struct Excluding {
        private static let small = ["{events: 20000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}", "bits: 20": "bits: 14"]

        /// 12,000 clicks of which 2,000 have the wrong label.
        private func poisoned(_ loop: Loop) async throws -> [Substring] {
            try await loop.clicks(12_000, seed: 9).enumerated().map { index, line in
                guard (5000..<7000).contains(index) else { return line }
                return line.contains("\"clicked\":1") ? Substring(line.replacing("\"clicked\":1", with: "\"clicked\":0")) : Substring(line.replacing("\"clicked\":0", with: "\"clicked\":1"))
            }
        }

        /// Protects: the image after an exclusion is that of the stream without those events, bit for bit, while the learner runs; what comes later
        /// goes on from it, and an exclusion of what is yet to come passes it by.
        @Test func theStreamWithoutThem() async throws {
            try await Loop.with(.clicks, replacing: Self.small) { loop in
                let lines = try await poisoned(loop)
                let all = try loop.write(lines, to: "all.jsonl"), clean = try loop.write(lines[..<5000] + lines[7000...], to: "clean.jsonl")
                let expected = try await loop.json("evaluate", loop.file, clean)["image_hash"].string
                #expect(try await loop.json("evaluate", loop.file, all)["image_hash"].string != expected)
                var learner = try loop.learner()
                try await loop.freshet("feed", loop.file, all)
                try await loop.untilRead(12_000, by: learner)
                let before = try await loop.json("show", loop.file)
                let result = try await loop.json(
                    "exclude", loop.file, "--topic", "feedback.clicks", "--partition", "0", "--offsets", "5000..7000", "--reason", "wrong labels")
                #expect(result["state"].string == "done" && result["events_excluded"].int == 2000)
                #expect(result["lineage"].int == 2 && result["version"].int == (before["version"].int ?? 0) + 1)
                #expect((result["parent"].int ?? .max) < (before["version"].int ?? 0))
                #expect(result["before"]["events"].int == 12_000 && result["after"]["events"].int == 10_000)
                let fork = try await loop.json("show", loop.file, "\(result["version"].int ?? 0)")
                #expect(fork["image_hash"].string == expected)
                #expect(fork["metrics"]["refused"]["excluded"].int == 2000)
                #expect(try await loop.freshet("show", loop.file, "\(result["version"].int ?? 0)").contains("exclude partition 0, offsets 5000..<7000"))
                try await until("the fork is published", timeout: .seconds(30)) {
                    try loop.number("SELECT count(*) FROM freshet.publications WHERE kind = 'image' AND version >= \(result["version"].int ?? 0)") > 0
                }
                #expect(try await loop.json("verify", loop.file, "\(result["version"].int ?? 0)")["equal"].bool == true)
                // Recovery begins with the fork, though no event comes any more.
                #expect(try loop.number("SELECT count(*) FROM freshet.snapshots WHERE reason = 'fork' AND version = \(result["version"].int ?? 0)") == 1)
                #expect(try await loop.json("doctor", loop.file)["snapshot_version"].int == result["version"].int)
                for (partition, offsets, why) in [("0", "5100..5200", "excluded already"), ("7", "0..5", "partition 7 is not read")] {
                    let refusal = try await loop.freshet(
                        "exclude", loop.file, "--topic", "feedback.clicks", "--partition", partition, "--offsets", offsets, status: 1)
                    #expect(refusal.contains(why), "\(refusal)")
                }
                #expect(try await loop.json("show", loop.file)["version"].int == result["version"].int)
                // The old head is still what it was.
                #expect(try await loop.json("verify", loop.file, "\(before["version"].int ?? 0)")["equal"].bool == true)

                let ahead = try await loop.json("exclude", loop.file, "--topic", "feedback.clicks", "--partition", "0", "--offsets", "12500...12599")
                #expect(ahead["lineage"].int == 2 && ahead["events_excluded"].int == 0)
                let more = try await loop.clicks(1000, seed: 10)
                try await loop.freshet("feed", loop.file, try loop.write(more, to: "more.jsonl"))
                try await loop.untilRead(13_000, by: learner)
                let rest = try loop.write(lines[..<5000] + lines[7000...] + more[..<500] + more[600...], to: "rest.jsonl")
                let final = try await loop.json("evaluate", loop.file, rest)["image_hash"].string
                #expect(try await loop.json("show", loop.file)["image_hash"].string == final)
                // A learner that dies recovers along the fork.
                learner.kill()
                learner = try loop.learner()
                try await loop.freshet("feed", loop.file, try loop.write(more, to: "more.jsonl"))
                try await loop.untilRead(14_000, by: learner)
                #expect(try await learner.terminate() == 0)
                let verification = try await loop.json("verify", loop.file)
                #expect(verification["equal"].bool == true, "\(verification["problem"].string ?? "")")
            }
        }

        /// Protects: `rollback V --learn` gives the very image of V, over all partitions, and learning goes on from it.
        @Test func learnsAgainFromAVersion() async throws {
            try await Loop.with(.clicks, partitions: 3, replacing: Self.small) { loop in
                let learner = try loop.learner()
                func feed(_ events: Int, seed: Int, upTo total: Int) async throws {
                    try await loop.freshet("feed", loop.file, try loop.write(try await loop.clicks(events, seed: seed), to: "part.jsonl"))
                    try await loop.untilRecorded(total, by: learner)
                }
                try await feed(6000, seed: 11, upTo: 6000)
                let good = try await loop.json("show", loop.file)
                let version = try #require(good["version"].int)
                try await feed(3000, seed: 12, upTo: 9000)
                let result = try await loop.json("rollback", loop.file, "\(version)", "--learn", "--reason", "a bad campaign")
                #expect(result["state"].string == "done" && result["image_hash"].string == good["image_hash"].string, "\(result)")
                let made = try await loop.json("show", loop.file, "\(result["version"].int ?? 0)")
                #expect(made["metrics"]["total"]["events"].int == 6000)
                #expect(try await loop.freshet("show", loop.file, "\(result["version"].int ?? 0)").contains("rollback to version \(version): a bad campaign"))
                try await feed(1000, seed: 13, upTo: 0)
                try await until("the newest have learned 7,000 events") { try await loop.json("show", loop.file)["metrics"]["total"]["events"].int == 7000 }
                let refusal = try await loop.freshet("rollback", loop.file, "\(version + 1)", "--learn", status: 1)
                #expect(refusal.contains("did not come from version \(version + 1)"), "\(refusal)")
                #expect(try await learner.terminate() == 0)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: a learner killed at any moment of the rebuilding leaves the old head or the new one, and the request is done once.
        @Test func killedWhileItRebuilds() async throws {
            var random = SeededGenerator(UInt64.random(in: 0..<1_000_000))
            try await Loop.with(.clicks, replacing: Self.small.merging(["snapshot: {seconds: 60}": "snapshot: {seconds: 3600}"]) { $1 }) { loop in
                let lines = try await poisoned(loop)
                let all = try loop.write(lines, to: "all.jsonl"), clean = try loop.write(lines[..<5000] + lines[7000...], to: "clean.jsonl")
                let expected = try await loop.json("evaluate", loop.file, clean)["image_hash"].string
                let learner = try loop.learner()
                try await loop.freshet("feed", loop.file, all)
                try await loop.untilRead(12_000, by: learner)
                learner.kill()
                let old = try await loop.json("show", loop.file)
                _ = try await loop.json(
                    "exclude", loop.file, "--topic", "feedback.clicks", "--partition", "0", "--offsets", "5000..7000", "--no-wait")
                for _ in 0..<8 {
                    let victim = try loop.learner()
                    try await Task.sleep(for: .milliseconds(100 + Int(random.next() % 900)))
                    #expect(victim.exitStatus == nil, "\(victim.standardError)")
                    victim.kill()
                    let newest = try await loop.json("show", loop.file)
                    if newest["version"].int == old["version"].int {
                        #expect(newest["image_hash"].string == old["image_hash"].string)
                    } else {
                        #expect(newest["image_hash"].string == expected)
                    }
                }
                let last = try loop.learner()
                _ = try await loop.port(of: last)
                try await until("the request is done", state: { last.standardError }) {
                    try loop.number("SELECT count(*) FROM freshet.requests WHERE state = 'done'") == 1
                }
                #expect(try await last.terminate() == 0, "\(last.standardError)")
                #expect(try loop.number("SELECT count(*) FROM freshet.versions WHERE parent <> version - 1") == 1)
                #expect(try await loop.json("show", loop.file)["image_hash"].string == expected)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: what cannot be done is refused with the reason, and changes nothing; what is no range of offsets is a wrong call.
        @Test func whatCannotBeDone() async throws {
            try await Loop.with(.clicks, replacing: Self.small) { loop in
                let call = ["exclude", loop.file, "--topic", "feedback.clicks", "--partition", "0", "--offsets"]
                #expect(try await loop.freshet(call[0], call[1], call[2], call[3], call[4], call[5], call[6], "3..5", status: 1).contains("no version yet"))
                #expect(try await loop.freshet(call[0], call[1], call[2], "other", call[4], call[5], call[6], "3..5", status: 1).contains("feedback.clicks"))
                for wrong in ["5..5", "7..3", "x..3", "3"] {
                    try await loop.freshet(call[0], call[1], call[2], call[3], call[4], call[5], call[6], wrong, status: 64)
                }
                // Without a learner a request waits, is told of, and can be taken back.
                try await loop.freshet("feed", loop.file, try loop.write(try await loop.clicks(1000, seed: 2), to: "some.jsonl"))
                let learner = try loop.learner()
                try await loop.untilRead(1000, by: learner)
                let second = try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", "--new-lineage", status: 1)
                #expect(second.contains("another learner holds the lease"), "\(second)")
                #expect(try await learner.terminate() == 0)
                let request = try #require(
                    try await loop.json("exclude", loop.file, "--topic", "feedback.clicks", "--partition", "0", "--offsets", "3..5", "--no-wait")["request"].int)
                #expect(try await loop.freshet("doctor", loop.file).contains("1 wait for the learner: \(request) of"))
                #expect(try await loop.json("exclude", loop.file, "--withdraw", "\(request)")["state"].string == "withdrawn")
                #expect(try await loop.freshet("exclude", loop.file, "--withdraw", "\(request)", status: 1).contains("has no request"))
                #expect(try loop.number("SELECT count(*) FROM freshet.requests") == 0)
            }
        }
    }

    /// A pipeline's file that changes under its lineage.
    @Suite struct Redefining {
        private static let small = ["{events: 20000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "bits: 20": "bits: 14"]

        /// Protects: a change that keeps the weights' meaning goes on and is replayed; one that does not is refused by name, and begins a lineage on request.
        @Test func goesOnOrBeginsAnew() async throws {
            try await Loop.with(.clicks, replacing: Self.small) { loop in
                func change(_ old: String, _ new: String) throws {
                    let text = try String(contentsOfFile: loop.file, encoding: .utf8)
                    try #require(text.contains(old))
                    try text.replacing(old, with: new).write(toFile: loop.file, atomically: true, encoding: .utf8)
                }
                let lines = try await loop.clicks(6000, seed: 4)
                func learn(_ range: Range<Int>, _ more: String...) async throws {
                    try await loop.freshet("feed", loop.file, try loop.write(lines[range], to: "part.jsonl"))
                    let learner = try loop.start(["run", loop.file, "--http", "127.0.0.1:0"] + more)
                    try await loop.untilRead(range.upperBound, by: learner)
                    #expect(try await learner.terminate() == 0)
                }
                try await learn(0..<2000)
                try change("rate: 0.1}", "rate: 0.03}")
                try await learn(2000..<4000)
                try change("window: 10000", "window: 500")
                try await learn(4000..<5000)
                #expect(try loop.number("SELECT count(*) FROM freshet.commands WHERE kind = 'define'") == 3)
                #expect(try loop.number("SELECT max(lineage) FROM freshet.versions") == 1)
                // From the very beginning, over both changes.
                _ = try loop.connect().execute("DELETE FROM freshet.snapshots", timeout: .seconds(30))
                let verification = try await loop.json("verify", loop.file)
                #expect(verification["equal"].bool == true && verification["events"].int == 5000, "\(verification["problem"].string ?? "")")

                try change("bits: 14", "bits: 13")
                let refused = try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", status: 1)
                #expect(refused.contains("model.bits changed") && refused.contains("--new-lineage"))
                let head = try await loop.json("show", loop.file)["version"].int ?? 0
                let learner = try loop.start(["run", loop.file, "--http", "127.0.0.1:0", "--new-lineage"])
                try await until("all is learned anew", state: { learner.standardError }) {
                    try loop.number("SELECT coalesce(sum(learned), 0) FROM freshet.versions WHERE lineage = 2") == 5000
                }
                #expect(try await learner.terminate() == 0)
                #expect(try loop.number("SELECT parent FROM freshet.versions WHERE version = \(head + 1)") == 0)
                // The next start goes on with it.
                try await learn(5000..<6000)
                #expect(try loop.number("SELECT max(lineage) FROM freshet.versions") == 2)
                let anew = try loop.write(lines, to: "anew.jsonl")
                #expect(try await loop.json("show", loop.file)["image_hash"].string == loop.json("evaluate", loop.file, anew)["image_hash"].string)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: figures and windows are compared with the version that the owner names, also after restarts; one that cannot be had is no reason to stop.
        @Test func comparesWithAPinnedVersion() async throws {
            try await Loop.with(.clicks, replacing: Self.small.merging(["window: 10000": "window: 2100"]) { $1 }) { loop in
                let lines = try await loop.clicks(8000, seed: 4)
                func learn(_ range: Range<Int>) async throws -> String {
                    try await loop.freshet("feed", loop.file, try loop.write(lines[range], to: "part.jsonl"))
                    let learner = try loop.learner()
                    try await loop.untilRead(range.upperBound, by: learner)
                    #expect(try await learner.terminate() == 0)
                    return learner.standardError
                }
                _ = try await learn(0..<5000)
                let pinned = try #require(try await loop.json("show", loop.file)["version"].int)
                let text = try String(contentsOfFile: loop.file, encoding: .utf8)
                func refer(to version: Int) throws {
                    try text.replacing("window: 2100", with: "window: 2100, reference: \(version)").write(toFile: loop.file, atomically: true, encoding: .utf8)
                }
                try refer(to: pinned)
                #expect(try await learn(5000..<6000).contains("are compared with the windows that version \(pinned) had"))
                // Said once, and part of the state from then on; people are shown the version alone.
                #expect(!(try await learn(6000..<7000).contains("monitor.reference")))
                #expect(try await loop.json("show", loop.file)["metrics"]["reference"]["version"].int == pinned)
                let command = "FROM freshet.commands WHERE kind = 'reference' AND command->>'version' = '\(pinned)'"
                #expect(try loop.number("SELECT count(*) \(command) AND NOT command ? 'windows' AND version > \(pinned)") == 1)
                // One from before the first window.
                try refer(to: 2)
                #expect(try await learn(7000..<8000).contains("not compared with version 2, but with the window that is their reference now: it is older than the first whole window"))
                #expect(try await loop.json("show", loop.file)["metrics"]["reference"]["version"].int == 2)
                _ = try loop.connect().execute("DELETE FROM freshet.snapshots", timeout: .seconds(30))
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }
    }
}
