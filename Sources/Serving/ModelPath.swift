// The paths that name a model, of both protocols:
//
//   /v1/models/NAME[/versions/V][:predict | :explain]
//   /v2/models/NAME[/versions/V][/ready | /infer]

import Foundation

struct ModelPath {
    enum Verb: Sendable {
        case status, predict, explain
        case metadata, ready, infer

        var isPost: Bool {
            switch self {
            case .predict, .explain, .infer: true
            case .status, .metadata, .ready: false
            }
        }
    }

    let model: String
    /// As the path has it; nil where it leaves the choice to the node.
    let version: String?
    let verb: Verb

    /// Nil for a path of another form.
    init?(_ path: String) {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].isEmpty, parts[2] == "models" else { return nil }
        let protocolVersion = parts[1]
        parts.removeFirst(3)
        switch protocolVersion {
        case "v1":
            let last = parts.removeLast().split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            parts.append(last[0])
            switch last.dropFirst().first {
            case nil: verb = .status
            case "predict": verb = .predict
            case "explain": verb = .explain
            default: return nil
            }
        case "v2":
            switch parts.count % 2 == 0 ? parts.removeLast() : "" {
            case "": verb = .metadata
            case "ready": verb = .ready
            case "infer": verb = .infer
            default: return nil
            }
        default: return nil
        }
        guard parts.count == 1 || parts.count == 3 && parts[1] == "versions" else { return nil }
        func decoded(_ text: Substring) -> String {
            text.utf8.contains(UInt8(ascii: "%")) ? text.removingPercentEncoding ?? String(text) : String(text)
        }
        model = decoded(parts[0])
        version = parts.count == 3 ? decoded(parts[2]) : nil
    }
}
