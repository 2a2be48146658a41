// What every test of a fault has in common: events come, a learner learns them, a node answers, something goes wrong, and then all is well.

import Foundation

extension Loop {
    /// Pipeline settings under which versions and snapshots come so often that a fault meets many of them.
    public static let often = [
        "{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "bits: 20": "bits: 14", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}",
    ]

    /// Events of `freshet generate clicks`, in a file.
    public func clicksFile(_ events: Int, seed: Int = 8, isolation: isolated (any Actor)? = #isolation) async throws -> String {
        let file = "\(folder)/clicks-\(seed).jsonl"
        try await freshet("generate", "clicks", "--events", String(events), "--seed", String(seed), environment: ["LD_PRELOAD": ""])
            .write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    /// The first lines of a text file, in a file of their own.
    public func head(_ file: String, lines: Int) throws -> String {
        let path = "\(folder)/head-" + URL(filePath: file).lastPathComponent
        let head = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").prefix(lines)
        try (head.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Sends clicks to Tansu before anyone reads them, in large batches but for the last event of each partition: then it says rightly where they end.
    @discardableResult
    public func feedInBatches(_ events: Int, partitions: Int, isolation: isolated (any Actor)? = #isolation) async throws -> String {
        let file = try await clicksFile(events)
        let batches = "\(folder)/batches.yaml", most = "\(folder)/most.jsonl"
        try String(contentsOfFile: self.file, encoding: .utf8).replacingOccurrences(of: "batch.num.messages: 1", with: "batch.num.messages: 10000")
            .write(toFile: batches, atomically: true, encoding: .utf8)
        let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
        try (lines.dropLast(partitions).joined(separator: "\n") + "\n").write(toFile: most, atomically: true, encoding: .utf8)
        try await freshet("feed", batches, most)
        for (partition, line) in lines.suffix(partitions).enumerated() {
            let last = "\(folder)/last.jsonl"
            try (line + "\n").write(toFile: last, atomically: true, encoding: .utf8)
            try await freshet("feed", self.file, last, "--partition", String(partition))
        }
        return file
    }

    /// Waits until the node has an image, and asks it from then on.
    public func ask(_ node: (process: ChildProcess, port: Int), _ file: String, isolation: isolated (any Actor)? = #isolation) async throws -> Asker {
        try await until("the node has an image", state: { node.process.standardError }) {
            Asker.get(node.port, "/readyz")?.hasPrefix("HTTP/1.1 200 ") == true
        }
        let event = try String(contentsOfFile: file, encoding: .utf8).prefix { $0 != "\n" }
        return Asker(port: node.port, model: pipeline, body: "{\"instances\":[\(event)]}")
    }

    /// Waits until the node serves the newest version.
    public func untilServed(by node: (process: ChildProcess, port: Int), isolation: isolated (any Actor)? = #isolation) async throws {
        let hash = try await json("show", file)["image_hash"].string ?? ""
        try await until("\(node.port) serves the newest version", state: { node.process.standardError }) {
            Asker.get(node.port, "/v1/models/\(pipeline)")?.contains(hash) == true
        }
    }
}
