import Foundation

/// The streams of the recorded peers: segments whose level goes from one value to another, drawn with a 31-bit linear congruential generator.
struct DriftStream: Sendable {
    enum Kind: String, Decodable, Sendable { case bernoulli, real }
    struct Segment: Sendable {
        var count: Int
        var from: Double
        var to: Double
    }

    var kind: Kind
    var seed: Int
    var segments: [Segment]

    init(_ kind: Kind, seed: Int, _ segments: [(Int, Double, Double)]) {
        self.kind = kind
        self.seed = seed
        self.segments = segments.map { Segment(count: $0.0, from: $0.1, to: $0.2) }
    }

    func values() -> [Double] {
        var x = seed
        func uniform() -> Double {
            x = (1_103_515_245 * x + 12345) % (1 << 31)
            return Double(x) / Double(1 << 31)
        }
        return segments.flatMap { segment in
            (0 ..< segment.count).map { i in
                let level = segment.from + (segment.to - segment.from) * Double(i) / Double(segment.count)
                switch kind {
                case .bernoulli: return uniform() < level ? 1 : 0
                case .real: return level + 0.25 * ((0 ..< 12).reduce(0.0) { sum, _ in sum + uniform() } - 6)
                }
            }
        }
    }
}

/// What River 0.26.1 answered, beside the package in `shared/fixtures`.
enum RiverFixture {
    struct Case: Decodable {
        struct Answer: Decodable {
            var drift: [Int]
            var warnings: Int
            var firstWarnings: [Int]

            enum CodingKeys: String, CodingKey {
                case drift, warnings
                case firstWarnings = "first_warnings"
            }
        }
        var kind: DriftStream.Kind
        var seed: Int
        var segments: [[Double]]
        var sum: Double
        var detectors: [String: Answer]

        var stream: DriftStream { DriftStream(kind, seed: seed, segments.map { (Int($0[0]), $0[1], $0[2]) }) }
    }
    private struct File: Decodable { var cases: [Case] }

    static let url = URL(filePath: #filePath).deletingLastPathComponent()  // Tests/DriftTests
        .appending(path: "../../../shared/fixtures/drift_river.json").standardizedFileURL

    static var isPresent: Bool { FileManager.default.fileExists(atPath: url.path) }

    static func cases() throws -> [Case] { try JSONDecoder().decode(File.self, from: Data(contentsOf: url)).cases }
}
