// The one error type of this module. An event that is bad is not an error but a `Refusal`: the stream goes on.

/// What is wrong with a plan, a schema, an event file or a request, and what would be right.
public enum RecordsError: Error, Equatable, CustomStringConvertible {
    /// The features, label, time and other settings do not go together.
    case plan(String)
    /// A JSON Schema cannot be used. `pointer` is the JSON Pointer of the place, "" for the whole document.
    case schema(name: String, pointer: String, message: String)
    /// An event file cannot be read. `line` is counted from 1, 0 for the whole file.
    case file(path: String, line: Int, message: String)
    /// The body of a prediction request cannot be used.
    case request(String)

    public var description: String {
        switch self {
        case .plan(let message), .request(let message): message
        case .schema(let name, let pointer, let message): "\(name)\(pointer.isEmpty ? "" : "#\(pointer)"): \(message)"
        case .file(let path, let line, let message): line > 0 ? "\(path):\(line): \(message)" : "\(path): \(message)"
        }
    }
}
