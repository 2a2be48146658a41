import Foundation
import Pipeline
import Records
import TestSupport

/// What all parts share: the input, the temporary folder, and the tables. Used by one thread.
final class Workbench {
    static let rounds = 3

    let events: Int
    let folder: String
    let freshet: String
    let peers: Peers?
    /// Nanoseconds of CPU to consume a message; nil until it was measured.
    var consumed: Double?
    private var rows: [[String]] = []
    private var otherTables: [String] = []

    init(events: Int) throws {
        self.events = events
        freshet = try TestData.program()
        folder = NSTemporaryDirectory() + "freshet-bench-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        peers = Peers(environment: ProcessInfo.processInfo.environment)
        if peers == nil { note("FRESHET_PEERS names no virtual environment with Python: the peers' rows are skipped") }
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    // MARK: Tables

    func row(_ what: String, _ figure: String, _ against: String = "", _ ratio: String = "", goal: String = "") {
        rows.append([what, figure, against, ratio, goal])
        note("    " + [what, figure, against, ratio].filter { !$0.isEmpty }.joined(separator: " | "))
    }

    func table(_ title: String, _ header: [String], _ rows: [[String]]) {
        otherTables.append("\n\(title)\n\n" + Self.markdown(header, rows))
    }

    func print(seconds: Int) {
        let model = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n").first { $0.hasPrefix("model name") }
        let cpu = model?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces) ?? "unknown CPU"
        Swift.print(
            """
            \(events) generated clicks; \(ProcessInfo.processInfo.activeProcessorCount) cores of \(cpu); medians of \(Self.rounds) \
            interleaved rounds; \(seconds) s in all. "A CPU second" is of one core.

            \(Self.markdown(["what", "figure", "beside", "ratio", "goal"], rows))
            """)
        for table in otherTables { Swift.print(table) }
    }

    private static func markdown(_ header: [String], _ rows: [[String]]) -> String {
        ([header, header.map { _ in "---" }] + rows).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }

    // MARK: Input

    /// A file of the generated clicks: `json` or `vw`. Made at the first use.
    func clicks(_ format: String) throws -> String {
        let path = "\(folder)/clicks.\(format == "json" ? "jsonl" : format)"
        if !FileManager.default.fileExists(atPath: path) {
            note("    generating \(events) clicks (\(format))")
            let made = try finished(ChildProcess(freshet, ["generate", "clicks", "--events", "\(events)", "--seed", "1", "--format", format], folder: folder))
            try FileManager.default.moveItem(atPath: made.outputPath, toPath: path)
        }
        return path
    }

    /// pipelines/clicks.yaml with 2^`bits` weights and some text replaced, and without the paths that depend on the present folder.
    func clicksPipeline(bits: Int = 22, name: String = "clicks", _ replacing: [(String, String)] = []) throws -> String {
        var yaml = try String(contentsOfFile: "\(TestData.root)/pipelines/clicks.yaml", encoding: .utf8)
        let always = [
            ("schemas/click.schema.json", "\(TestData.root)/schemas/click.schema.json"), ("bits: 20", "bits: \(bits)"),
            ("pipeline: clicks\n", "pipeline: \(name)\n"),
        ]
        for (old, new) in always + replacing {
            guard yaml.contains(old) else { throw BenchmarkError("pipelines/clicks.yaml has no \"\(old)\"") }
            yaml = yaml.replacingOccurrences(of: old, with: new)
        }
        return yaml
    }

    static let adaGrad = "optimizer: {kind: adagrad, rate: 0.1}"
    static let auto = "optimizer: auto"

    /// Writes a pipeline file.
    func file(_ name: String, _ yaml: String) throws -> String {
        let path = "\(folder)/\(name).yaml"
        try yaml.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// A definition from text; nil, and a note, where this program does not know what the text asks for.
    func definition(_ yaml: String) -> PipelineDefinition? {
        do {
            return try PipelineDefinition.parse(
                yaml, file: "\(folder)/bench.yaml", environment: ["DATABASE_URL": "postgres://localhost/none"],
                bundledSchemas: Bundled.schemas)
        } catch {
            note("    skipped: \(error)")
            return nil
        }
    }

    // MARK: Programs

    /// Waits until a program has ended well.
    @discardableResult
    func finished(_ child: ChildProcess) throws -> ChildProcess {
        while child.exitStatus == nil { usleep(2000) }
        guard child.exitStatus == 0 else { throw BenchmarkError("a program failed: \(child.standardError.suffix(500))") }
        return child
    }

    /// CPU seconds of a program on the last core, and what it printed.
    func pinned(_ program: String, _ arguments: [String]) throws -> (seconds: Double, output: Data) {
        let core = "\(ProcessInfo.processInfo.activeProcessorCount - 1)"
        let before = cpuSeconds(RUSAGE_CHILDREN)
        let child = try finished(ChildProcess("/usr/bin/taskset", ["-c", core, program] + arguments, folder: folder))
        return (cpuSeconds(RUSAGE_CHILDREN) - before, Data(child.standardOutput.utf8))
    }


    /// `freshet evaluate` on one core.
    func evaluate(_ pipeline: String, _ file: String) throws -> Evaluated {
        let (seconds, output) = try pinned(freshet, ["evaluate", pipeline, file, "--json"])
        let evaluation = try JSONDecoder().decode(Evaluation.self, from: output)
        return Evaluated(rate: Double(evaluation.examples) / seconds, evaluation: evaluation)
    }
}

struct Evaluated {
    /// Examples a CPU second, start-up included.
    var rate: Double
    var evaluation: Evaluation
}

/// Vowpal Wabbit and scikit-learn, from a virtual environment.
struct Peers {
    let python: String
    /// The shared script that runs Vowpal Wabbit; beside the package.
    private let vwScript: String?

    init?(environment: [String: String]) {
        guard let folder = environment["FRESHET_PEERS"] else { return nil }
        python = "\(folder)/bin/python"
        guard FileManager.default.isExecutableFile(atPath: python) else { return nil }
        let script = URL(filePath: TestData.root).appending(path: "../shared/peers/vw.py").standardized.path
        vwScript = FileManager.default.fileExists(atPath: script) ? script : nil
    }

    struct VW: Decodable {
        var examplesPerCPUSecond: Double
        var logloss: Double
        var auc: Double
        enum CodingKeys: String, CodingKey {
            case examplesPerCPUSecond = "examples_per_cpu_s"
            case logloss, auc
        }
    }

    /// Vowpal Wabbit over a file of its text on one core. Nil without the script.
    func vw(_ bench: Workbench, _ file: String, _ arguments: [String] = []) throws -> VW? {
        guard let vwScript else { return nil }
        return try JSONDecoder().decode(VW.self, from: bench.pinned(python, [vwScript, file] + arguments).output)
    }
}
