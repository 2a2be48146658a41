import Foundation

/// The time of day as libfaketime shows it to programs that start with its environment. Monotonic clocks go on as they are.
public struct Clock: Sendable {
    public let environment: [String: String]
    private let file: String

    public init(folder: String, library: String) throws {
        file = "\(folder)/clock"
        environment = [
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        ]
        try set(hours: 0)
    }

    /// The programs see so many hours more than there are.
    public func set(hours: Int) throws {
        try "\(hours < 0 ? "-" : "+")\(abs(hours))h\n".write(toFile: file, atomically: true, encoding: .utf8)
        chmod(file, 0o644)
    }
}
