// Updates a second of each drift detector beside River's, on the same numbers: errors of a prediction that is wrong every fifth time, and for the detectors
// of numbers how wrong it was.

import Drift
import Foundation
import TestSupport

private struct RiverRates: Decodable {
    var updates_per_s: [String: Double]
}

func measureDetectors(_ bench: Workbench) throws {
    let python = try [bench.peers?.python, "/usr/bin/python3"].compactMap { $0 }.first { try bench.hasRiver($0) }
    var ours: [DetectorKind: [Double]] = [:]
    var theirs: [DetectorKind: [Double]] = [:]
    for _ in 1...Workbench.rounds {
        for kind in DetectorKind.allCases {
            ours[kind, default: []].append(try updatesPerSecond(kind))
        }
        guard let python else { continue }
        let output = try bench.pinned(python, ["\(TestData.root)/Tests/Benchmarks/river_detectors.py"]).output
        let rates = try JSONDecoder().decode(RiverRates.self, from: output).updates_per_s
        for kind in DetectorKind.allCases { theirs[kind, default: []].append(rates[kind.rawValue] ?? .nan) }
    }
    for kind in DetectorKind.allCases {
        let goal = kind == .adwin ? "8" : kind == .kswin ? "50" : "20"
        let (figures, base) = (ours[kind] ?? [], theirs[kind] ?? [])
        let what = "drift detector \(kind.rawValue), updates a CPU second"
        if base.isEmpty {
            bench.row(what, rate(figures), "River: skipped, no Python has it", goal: goal)
        } else {
            bench.row(what, rate(figures), "River: \(rate(base))", ratio(figures, base), goal: goal)
        }
    }
}

private func updatesPerSecond(_ kind: DetectorKind) throws -> Double {
    let count = kind == .kswin ? 200_000 : 2_000_000
    let isBinary = ![.adwin, .pageHinkley, .kswin].contains(kind)
    var x = 42
    let numbers = (0..<count).map { _ in
        x = (1_103_515_245 * x + 12345) % (1 << 31)
        let uniform = Double(x) / Double(1 << 31)
        return isBinary ? (uniform < 0.2 ? 1 : 0) : uniform
    }
    var detector = try Detector(DetectorDefinition(standard: kind))
    var alarms = 0
    let seconds = timed {
        for number in numbers where detector.update(number) == .drift { alarms += 1 }
    }
    guard alarms < count else { throw BenchmarkError("\(kind.rawValue) alarms at everything") }
    return Double(count) / seconds
}

extension Workbench {
    fileprivate func hasRiver(_ python: String) throws -> Bool {
        guard FileManager.default.isExecutableFile(atPath: python) else { return false }
        let child = try ChildProcess(python, ["-c", "import river"], folder: folder)
        while child.exitStatus == nil { usleep(2000) }
        return child.exitStatus == 0
    }
}
