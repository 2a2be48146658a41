// The broker does not have what is to be read next. One type for all the ways, for what to do about them is decided in one place.

/// Where the recorded order and the broker's log part.
public struct GapError: Error, CustomStringConvertible, Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// The log begins behind the position: retention has taken what lies between.
        case logBegins(at: Int64)
        /// The log ends before the position.
        case logEnds(at: Int64)
        /// The topic is another one of the same name, by what is said here.
        case recreated(String)
    }

    public let topic: String
    public let partition: Int32
    /// The offset that is next by the recorded order.
    public let position: Int64
    public let kind: Kind

    package init(topic: String, partition: Int32, position: Int64, kind: Kind) {
        self.topic = topic
        self.partition = partition
        self.position = position
        self.kind = kind
    }

    /// What is wrong, without what to do about it.
    public var reason: String {
        switch kind {
        case .logBegins(let low):
            "\(topic)[\(partition)]: offset \(position) is next, but the broker's log begins at \(low): offsets \(position)..<\(low) are gone, at most \(low - position) events"
        case .logEnds(let high):
            "\(topic)[\(partition)]: offset \(position) is next, but the broker's log ends at \(high): the topic was truncated, or deleted and created again"
        case .recreated(let sign):
            "\(topic)[\(partition)]: the topic was deleted and created again: \(sign)"
        }
    }

    public var description: String {
        let remedy =
            switch kind {
            case .logBegins: "raise the topic's retention; `source.on_gap: skip` goes on behind the gap and records it"
            case .logEnds, .recreated: "`source.on_gap: skip` goes on with the topic as it is now, from its beginning, and records it"
            }
        return "\(reason); \(remedy); `freshet run PIPELINE --new-lineage` starts anew"
    }

    var name: String {
        switch kind {
        case .logBegins: "log_begins"
        case .logEnds: "log_ends"
        case .recreated: "recreated"
        }
    }

    /// Where the log can be read from; for the history.
    var next: Int64 {
        switch kind {
        case .logBegins(let at), .logEnds(let at): at
        case .recreated: 0
        }
    }
}
