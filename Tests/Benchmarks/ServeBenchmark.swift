// Predictions a second: in this process, and of a node over HTTP beside MLServer (https://mlserver.readthedocs.io) with a linear model of scikit-learn
// over as many features. Both servers have one core, and `wrk` the other; both speak the Open Inference Protocol V2, ten clicks a request.

import Foundation
import Model
import Pipeline
import Records
import TestSupport

private let instances = 10
private let roundSeconds = 5

func measureServe(_ bench: Workbench) async throws {
    try measureInProcess(bench)
    guard let wrk = Wrk(bench) else { return bench.row("predictions over HTTP", "skipped: wrk is not on this machine") }
    let last = ProcessInfo.processInfo.activeProcessorCount - 1
    let replacing = ["bits: 20": "bits: 22"]
    try await Loop.with(.clicks, partitions: 8, replacing: replacing) { loop in
        let learner = try loop.learner()
        let clicks = try bench.clicks("json")
        let feed = try loop.start("feed", loop.file, clicks, "--rate", "50000")
        try await loop.untilRecorded(bench.events, by: learner)
        _ = try await feed.wait()
        try await learner.terminate()
        let node = try loop.start(["serve", loop.file, "--http", "127.0.0.1:0"])
        let port = try await loop.port(of: node)
        try await until("the node has the image", state: { node.standardError }) { Asker.get(port, "/readyz")?.hasPrefix("HTTP/1.1 200") == true }
        try pin(node.pid, core: 0)
        let peer = try await MLServer(bench, features: 18)
        defer { peer?.stop() }

        let v2 = try tensors(clicks)
        let numbers = "[" + repeatElement("0.5", count: instances * 18).joined(separator: ",") + "]"
        let peerBody = #"{"inputs":[{"name":"predict","shape":[\#(instances),18],"datatype":"FP32","data":\#(numbers)}],"outputs":[{"name":"predict_proba"}]}"#
        /// How much of its core the client was busy with asking the node, of all rounds.
        var clientBusy: [Double] = []
        func ask(_ url: String, _ body: String?) async throws -> WrkFigures {
            let before = cpuSeconds(RUSAGE_CHILDREN)
            let child = try wrk.start(url, body: body, connections: 8, seconds: roundSeconds, core: last)
            _ = try await child.wait()
            let figures = try WrkFigures(child.standardOutput)
            if body == v2 { clientBusy.append((cpuSeconds(RUSAGE_CHILDREN) - before) / Double(roundSeconds)) }
            guard figures.failed == 0 else { throw BenchmarkError("\(figures.failed) requests to \(url) failed: \(child.standardOutput)") }
            return figures
        }
        var (ours, theirs, ceiling): ([Double], [Double], [Double]) = ([], [], [])
        for _ in 1...Workbench.rounds {
            ours.append(Double(instances) * (try await ask("http://127.0.0.1:\(port)/v2/models/clicks/infer", v2)).rate)
            if let peer { theirs.append(Double(instances) * (try await ask(peer.url, peerBody)).rate) }
            ceiling.append(try await ask("http://127.0.0.1:\(port)/healthz", nil).rate)
        }
        bench.row(
            "predictions over HTTP, V2 protocol, \(instances) clicks a request, 8 connections, the server on one core", "\(rate(ours)) a second",
            theirs.isEmpty ? "skipped: FRESHET_PEERS has no mlserver and mlserver-sklearn" : "MLServer, scikit-learn: \(rate(theirs))",
            theirs.isEmpty ? "" : ratio(ours, theirs), goal: "10")
        let requests = ours.map { $0 / Double(instances) }
        bench.row("the same client asking the same node for /healthz", "\(rate(ceiling)) requests a second", "predictions: \(rate(requests)) requests")
        bench.row("the client's own ceiling: its requests by its CPU time", "\(rate(zip(requests, clientBusy).map { $0 / $1 })) requests a second")
    }
}

/// Decoding and predicting, on one core, without HTTP.
private func measureInProcess(_ bench: Workbench) throws {
    guard let definition = bench.definition(try bench.clicksPipeline()) else { return }
    let events = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 200_000))
    let learner = try LearningAlone(definition)
    let batches = events.decoded(definition)
    learner.learn(batches)
    var (whole, predicting): ([Double], [Double]) = ([], [])
    var sum = 0.0
    for _ in 1...Workbench.rounds {
        let (decoder, batch) = (EventDecoder(definition.plan), ExampleBatch())
        func predict(_ batch: ExampleBatch) {
            if let base = batch.features.baseAddress { learner.image.resolve(UnsafeBufferPointer(batch.scaled), into: base) }
            for example in batch.examples { sum += learner.image.predict(example, of: batch, link: definition.link)?[0] ?? 0 }
        }
        whole.append(
            Double(events.events.count)
                / timed {
                    for (offset, event) in events.events.enumerated() {
                        decoder.decode(event, offset: Int64(offset), requireLabel: false, into: batch)
                        guard batch.count == instances else { continue }
                        predict(batch)
                        batch.removeAll()
                    }
                })
        predicting.append(Double(events.events.count) / timed { for batch in batches { predict(batch) } })
    }
    guard sum > 0 else { throw BenchmarkError("nothing was predicted") }
    bench.row("predictions in process on one core, JSON decoded, 2^22 int8 weights", "\(rate(whole)) a second", "decoded before: \(rate(predicting))")
}

/// The first clicks as an inference request of the V2 protocol, one tensor a field.
private func tensors(_ path: String) throws -> String {
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").prefix(instances)
    let events = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:] }
    let fields = [
        "user_id", "item_id", "site", "device", "os", "country", "campaign", "creative", "slot", "hour", "price", "age_days", "ctr_7d", "dwell_s", "position",
    ]
    let inputs = fields.map { field in
        let values = events.compactMap { $0[field] }
        let kind = values.allSatisfy { $0 is String } ? "BYTES" : ["user_id", "item_id", "hour"].contains(field) ? "INT64" : "FP64"
        let data = values.map { kind == "BYTES" ? "\"\($0)\"" : "\($0)" }.joined(separator: ",")
        return #"{"name":"\#(field)","shape":[\#(values.count)],"datatype":"\#(kind)","data":[\#(data)]}"#
    }
    return #"{"inputs":[\#(inputs.joined(separator: ","))]}"#
}

/// Binds all threads of a process to one core.
private func pin(_ pid: pid_t, core: Int) throws {
    let process = try ChildProcess("/usr/bin/taskset", ["-a", "-c", "-p", "\(core)", "\(pid)"], folder: NSTemporaryDirectory())
    while process.exitStatus == nil { usleep(1000) }
    guard process.exitStatus == 0 else { throw BenchmarkError("taskset: \(process.standardError)") }
}

/// MLServer with a logistic regression, from the peers' virtual environment.
private final class MLServer {
    let url: String
    private let process: ChildProcess

    /// Nil where it is not installed.
    init?(_ bench: Workbench, features: Int) async throws {
        guard let peers = bench.peers else { return nil }
        let program = URL(filePath: peers.python).deletingLastPathComponent().appending(path: "mlserver").path
        guard FileManager.default.isExecutableFile(atPath: program) else { return nil }
        let folder = "\(bench.folder)/mlserver"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let port = try freePort()
        let script = "\(TestData.root)/Tests/Benchmarks/mlserver_model.py"
        try bench.finished(ChildProcess(peers.python, [script, folder, "\(features)", "\(port)", "\(try freePort())", "\(try freePort())"], folder: bench.folder))
        process = try ChildProcess("/usr/bin/taskset", ["-c", "0", program, "start", folder], folder: bench.folder)
        url = "http://127.0.0.1:\(port)/v2/models/clicks/infer"
        try await until("MLServer is ready", timeout: .seconds(90), state: { [process] in process.standardError }) {
            Asker.get(port, "/v2/health/ready")?.hasPrefix("HTTP/1.1 200") == true
        }
    }

    func stop() { process.kill() }
}
