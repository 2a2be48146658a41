// The tests that a pipeline file carries: an event, and what decoding it must give. They run the decoder that learning uses.

import Records

/// One test of a pipeline file.
public struct PipelineTest: Sendable, Equatable {
    public enum Expectation: Sendable, Equatable {
        /// The event is decoded to so many features, the constant included.
        case features(Int)
        /// The event is refused for this reason.
        case refused(RefusalReason)
    }

    /// The record's value: JSON, unless the file gives the event as text.
    public let event: [UInt8]
    public let expectation: Expectation
    /// Where the test stands in the file, from 1.
    public let line: Int
}

/// What came of one test.
public struct PipelineTestResult: Sendable, Equatable, CustomStringConvertible {
    public let file: String
    public let line: Int
    public let passed: Bool
    /// What was expected and what came instead; when it passed, what came.
    public let message: String

    public var description: String { "\(file):\(line): \(passed ? "passed" : "failed"): \(message)" }
}

extension PipelineDefinition {
    /// Decodes the events of `tests` and compares, in the order of the file.
    public func runTests() -> [PipelineTestResult] {
        let decoder = EventDecoder(plan)
        let batch = ExampleBatch()
        return tests.map { test in
            batch.removeAll()
            test.event.withUnsafeBytes { decoder.decode($0, offset: 0, into: batch) }
            let example = batch.examples[0]
            let refusal = example.refusal >= 0 ? batch.refusals[Int(example.refusal)] : nil
            let features = Int(example.featuresCount)
            let passed = switch test.expectation {
            case .features(let expected): refusal == nil && features == expected
            case .refused(let reason): refusal?.reason == reason
            }
            let outcome = refusal.map { refusal in
                "refused as \(refusal.reason.rawValue)\(refusal.field.map { " (field `\($0)`)" } ?? ""): \(refusal.detail)"
            } ?? "accepted with \(features) features, the constant included"
            let expected = switch test.expectation {
            case .features(let count): "\(count) features"
            case .refused(let reason): "a refusal as \(reason.rawValue)"
            }
            return PipelineTestResult(file: file, line: test.line, passed: passed, message: passed ? outcome : "expected \(expected); the event was \(outcome)")
        }
    }
}

extension DefinitionReader {
    /// The tests, with the names of the fields that their events have.
    func readTests(_ file: DefinitionSection) -> [(test: PipelineTest, fields: [String])] {
        let example = "{event: {user_id: 7, clicked: 1}, features: 2}"
        return file.sections("tests", example: example)?.compactMap { section in
            let event = readEvent(section)
            let refused = readRefused(section), count = section.integer("features", default: 0, in: 0...1_000_000)
            guard let event else { return nil }
            let expectation: PipelineTest.Expectation
            switch (section.node("features") != nil, section.node("refused") != nil) {
            case (true, false):
                guard let count else { return nil }
                expectation = .features(count)
            case (false, true):
                guard let refused else { return nil }
                expectation = .refused(refused)
            default:
                log.add(section.position, "a test says either `features: N` or `refused: reason`, for example `\(example)`")
                return nil
            }
            return (PipelineTest(event: event.bytes, expectation: expectation, line: section.position.line), event.fields)
        } ?? []
    }

    /// An event is data: it is taken as written, dollars included. As text it is the record's bytes, which need not be JSON.
    private func readEvent(_ section: DefinitionSection) -> (bytes: [UInt8], fields: [String])? {
        guard let node = section.node("event") else {
            section.missing("event", example: "event: {user_id: 7, clicked: 1}")
            return nil
        }
        switch node.value {
        case .map(let entries): return (Array(json(node).utf8), entries.map(\.key))
        case .text(let text): return (Array(text.utf8), [])
        default:
            log.add(node.position, "tests.event must be a map, or text for a record that is not JSON; found \(node.kind)")
            return nil
        }
    }

    private func readRefused(_ section: DefinitionSection) -> RefusalReason? {
        guard let node = section.node("refused"), let text = section.text("refused", example: "wrong_type") else { return nil }
        // These come from learning and from reading Kafka, not from decoding.
        let others: Set<RefusalReason> = [.notFinite, .duplicate, .excluded, .tombstone]
        let reasons = RefusalReason.allCases.filter { !others.contains($0) }.map(\.rawValue)
        if reasons.contains(text) { return RefusalReason(rawValue: text) }
        log.add(node.position, "tests.refused must be one of \(reasons.joined(separator: ", ")); found \(quoted(section.written("refused")))\(log.suggestion(for: text, among: reasons))")
        return nil
    }

    private func json(_ node: DefinitionNode) -> String {
        switch node.value {
        case .null: "null"
        case .boolean(let flag): "\(flag)"
        case .number(let text): text
        case .text(let text): quotedJSON(text)
        case .list(let nodes): "[" + nodes.map(json).joined(separator: ",") + "]"
        case .map(let entries): "{" + entries.map { quotedJSON($0.key) + ":" + json($0.value) }.joined(separator: ",") + "}"
        }
    }
}

/// Text as a JSON string: quotes, backslashes and control characters escaped, the rest as it is.
func quotedJSON(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": out += "\\\(scalar)"
        case _ where scalar.value < 0x20:
            let digits = String(scalar.value, radix: 16)
            out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: out.unicodeScalars.append(scalar)
        }
    }
    return out + "\""
}
