import Drift
import Foundation
import Learner
import Model
import Records

/// Takes in results that nobody needs, so that the compiler does not leave out their computation. One thread measures.
nonisolated(unsafe) private var kept: UInt64 = 0
@inline(never) func keep(_ value: UInt64) { kept &+= value }

/// The floor under each stage, in nanoseconds an event, and the small stages themselves.
struct Limits {
    private(set) var features = 0.0
    /// Distinct cache lines an event touches, of the AdaGrad masters (8 bytes a weight) and of the resident weights.
    private(set) var masterLines = 0.0
    private(set) var residentLines = 0.0
    private(set) var copy = ""
    private(set) var scan = ""
    private(set) var validate = ""
    private(set) var readResident = ""
    private(set) var readAndWriteMasters = ""
    private(set) var readAndWrite = ""
    private(set) var latency = 0.0

    private static let weights = 1 << 22
    private static let lanes = 60

    init(_ events: EventsInMemory, _ batches: [ExampleBatch]) {
        let count = Double(events.events.count)
        /// The quickest of three passes: a limit is what can be reached.
        func limit(_ body: () -> Void) -> String { decimal(((0..<3).map { _ in timed(body) }.min() ?? .nan) / count * 1e9, 0) }

        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { room.deallocate() }
        copy = limit {
            for event in events.events { room.copyMemory(from: event) }
            keep(UInt64(room[0]))
        }
        scan = limit {
            var found = 0
            for event in events.events {
                if let start = event.baseAddress, memchr(start, 10, event.count) != nil { found += 1 }
            }
            keep(UInt64(found))
        }
        validate = limit {
            var valid = 0
            for event in events.events where (try? UTF8Span(validating: event.bindMemory(to: UInt8.self).span)) != nil { valid += 1 }
            keep(UInt64(valid))
        }

        var (lines, resident) = (0, 0)
        var indices: [UInt32] = []
        for batch in batches {
            for example in batch.examples {
                let own = batch.features[Int(example.featuresStart)..<Int(example.featuresStart + example.featuresCount)].map(\.index)
                indices += own
                lines += Set(own.map { $0 / 8 }).count
                resident += Set(own.map { Int($0) / Self.lanes }).count
            }
        }
        features = Double(indices.count) / count
        (masterLines, residentLines) = (Double(lines) / count, Double(resident) / count)

        let masters = Table<UInt64>(count: Self.weights)
        let blocks = Table<UInt64>(count: (Self.weights / Self.lanes + 1) * 8)
        readResident = limit {
            var sum: UInt64 = 0
            for index in indices { sum &+= blocks.pointer[Int(index) / Self.lanes * 8] }
            keep(sum)
        }
        readAndWriteMasters = limit { for index in indices { masters.pointer[Int(index)] &+= 1 } }
        readAndWrite = limit {
            for index in indices {
                masters.pointer[Int(index)] &+= 1
                blocks.pointer[Int(index) / Self.lanes * 8] &+= 1
            }
        }

        // One cycle through all lines in a random order (Sattolo's shuffle): every access waits for the one before.
        let cycle = Table<UInt64>(count: Self.weights)
        var order = (0..<UInt64(Self.weights / 8)).map { $0 * 8 }
        var random: UInt64 = 1
        for index in stride(from: order.count - 1, to: 0, by: -1) {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            order.swapAt(index, Int((random >> 33) % UInt64(index)))
        }
        for (index, line) in order.enumerated() { cycle.pointer[Int(line)] = order[(index + 1) % order.count] }
        let steps = 1_000_000
        var at: UInt64 = 0
        latency = timed { for _ in 0..<steps { at = cycle.pointer[Int(at)] } } / Double(steps) * 1e9
        keep(at)
    }

    // MARK: Stages of which there is no more to say

    func read(_ events: EventsInMemory) throws {
        let reader = try JSONLinesReader(path: events.path)
        var lines = 0
        while lines < events.events.count, try reader.next() != nil { lines += 1 }
    }

    func hash(_ events: EventsInMemory) {
        var sum: UInt64 = 0
        for event in events.events { sum &+= hash64(event, seed: EventDecoder.bytesHashSeed) }
        keep(sum)
    }

    func addMetrics(_ scores: [Score], _ window: Int) {
        var metrics = ProgressiveMetrics(window: window)
        for score in scores { metrics.add(score) }
        keep(metrics.events)
    }

    func watch(_ scores: [Score]) {
        var detector = ADWIN()
        var alarms = 0
        for score in scores where detector.update(score.error) == .drift { alarms += 1 }
        keep(UInt64(alarms))
    }
}
