// The one error type of this module: what went wrong in serving, for an operator or a client.

/// What stops a node or a client, with the remedy.
public struct ServingError: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }
}
