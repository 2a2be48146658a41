// `make bench`: figures of the program, each beside what it is compared with, interleaved in one run. Prints Markdown tables; what is
// compared is made by `freshet generate` or here, from seeds. Nothing here passes or fails, and nothing stops the other parts: a part that
// cannot be measured says why in its row.
//
//     freshet-bench [EVENTS] [PART...]      parts: evaluate core broker dense memory heap stages snapshot faults patches swaps freshness serve
//                                           detectors drift history; all of them unless named
//
// FRESHET_PEERS names a Python virtual environment with vowpalwabbit, numpy, scikit-learn and river; without it those rows are skipped.

import Foundation

@main
struct Benchmark {
    private static let parts: [(name: String, measure: @Sendable (Workbench) async throws -> Void)] = [
        ("evaluate", measureEvaluate), ("core", measureCore), ("broker", measureBroker), ("dense", measureDense),
        ("memory", measureMemory), ("heap", measureHeap), ("stages", measureStages), ("snapshot", measureSnapshot), ("faults", measureFaults),
        ("patches", measurePatches), ("swaps", measureSwaps), ("freshness", measureFreshness), ("serve", measureServe),
        ("detectors", measureDetectors), ("drift", measureDrift),
        ("history", measureHistory),
    ]

    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let names = arguments.filter { Int($0) == nil }
        if let unknown = names.first(where: { name in !parts.contains { $0.name == name } }) {
            note("no part is called \(unknown); there are: \(parts.map(\.name).joined(separator: " "))")
            exit(64)
        }
        let bench = try Workbench(events: max(arguments.lazy.compactMap { Int($0) }.first ?? 1_000_000, 10_000))
        defer { bench.remove() }
        let began = ContinuousClock.now
        for part in parts where names.isEmpty || names.contains(part.name) {
            note("\(part.name) ...")
            do { try await part.measure(bench) } catch { bench.row(part.name, "not measured: \(error)") }
        }
        bench.print(seconds: Int((ContinuousClock.now - began) / .seconds(1)))
    }
}

func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

// MARK: Figures

/// The middle one of an odd number of figures.
func median(_ values: [Double]) -> Double { values.isEmpty ? .nan : values.sorted()[values.count / 2] }

/// The median of the rounds' ratios: a round's two figures were measured one right after the other.
func ratio(_ values: [Double], _ base: [Double]) -> String { String(format: "%.2f", median(zip(values, base).map { $0 / $1 })) }

/// 1234567 a second is "1,235 k/s".
func rate(_ values: [Double]) -> String {
    let thousands = Int((median(values) / 1000).rounded())
    return (thousands < 1000 ? "\(thousands)" : "\(thousands / 1000),\(String(format: "%03d", thousands % 1000))") + " k/s"
}

func decimal(_ value: Double, _ places: Int) -> String { String(format: "%.\(places)f", value) }

/// CPU seconds of this thread.
func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// CPU seconds of this process, or of its children that have ended.
func cpuSeconds(_ whose: __rusage_who) -> Double {
    var usage = rusage()
    getrusage(whose.rawValue, &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
}

/// CPU seconds of this thread that `body` takes.
func timed(_ body: () throws -> Void) rethrows -> Double {
    let began = threadSeconds()
    try body()
    return threadSeconds() - began
}
