// A dead letter as a Kafka message. Its value is the event's bytes as they were; its headers are the event's own and those that say why and
// where it was refused (`freshet-...`, an interface); its key is the event's position, so that a compacted topic keeps one letter an event.
// Letters leave at least once: whoever reads them tells copies by that position.

import KafkaClient

/// Where a refused event was.
package struct DeadLetterPosition: Sendable, Hashable {
    package var partition: Int32
    package var offset: Int64
}

/// A dead letter, read back from its topic.
public struct StoredDeadLetter: Sendable {
    public var reason: String
    public var detail: String
    /// The field that was to blame, if one was.
    public var field: String?
    public var pipeline: String
    /// Where the event was.
    public var topic: String
    public var partition: Int32
    public var offset: Int64
    /// The version after whose recording it left.
    public var version: UInt64?
    /// The event's key; nil also where the letter does not have it, as when only learning found the event to be wrong.
    public var key: [UInt8]?
    /// The event's own headers.
    public var headers: [KafkaHeader]
    /// The event as it was; nil for a tombstone.
    public var value: [UInt8]?
    /// How many bytes the event had, where the letter has only its beginning.
    public var truncatedFrom: Int?
    /// Where the event came from if it was itself a replayed letter, as topic/partition/offset.
    public var replayedFrom: String?
    /// When the letter left, in milliseconds since 1970; nil where the topic keeps no time.
    public var timestampMilliseconds: Int64?

    var position: DeadLetterPosition { DeadLetterPosition(partition: partition, offset: offset) }

    static let prefix = "freshet-"
    static let replayedFromHeader = "freshet-replayed-from"

    /// Nil for a message that is no dead letter.
    package init?(headers all: [KafkaHeader], value: [UInt8]?, timestampMilliseconds: Int64?) {
        func bytes(_ name: String) -> [UInt8]? { all.last { $0.name == Self.prefix + name }?.value }
        func text(_ name: String) -> String? { bytes(name).map { String(decoding: $0, as: UTF8.self) } }
        guard let reason = text("reason"), let pipeline = text("pipeline"), let topic = text("topic"),
            let partition = text("partition").flatMap(Int32.init), let offset = text("offset").flatMap(Int64.init)
        else { return nil }
        self.reason = reason
        self.pipeline = pipeline
        self.topic = topic
        self.partition = partition
        self.offset = offset
        detail = text("detail") ?? ""
        field = text("field")
        version = text("version").flatMap(UInt64.init)
        key = bytes("key")
        truncatedFrom = text("truncated-from").flatMap(Int.init)
        replayedFrom = text("replayed-from")
        headers = all.filter { !$0.name.hasPrefix(Self.prefix) }
        self.value = value
        self.timestampMilliseconds = timestampMilliseconds
    }
}

extension DeadLetter {
    /// Longer events are cut off, for a broker takes messages of some 8 MiB at most.
    package static let valueBytesMaximum = 7 << 20

    /// Only of an event with a fault: duplicates and excluded events are refused without leaving a letter.
    package var leaves: Bool { refusal.reason.isFault }

    /// As it is sent. `StoredDeadLetter` reads it back.
    package func message(pipeline: String, topic: String, version: UInt64) -> (key: [UInt8], value: [UInt8]?, headers: [KafkaHeader]) {
        var headers = self.headers.filter { !$0.name.hasPrefix(StoredDeadLetter.prefix) || $0.name == StoredDeadLetter.replayedFromHeader }
        func add(_ name: String, _ value: some Sequence<UInt8>) {
            headers.append(KafkaHeader(name: StoredDeadLetter.prefix + name, value: Array(value)))
        }
        add("reason", refusal.reason.rawValue.utf8)
        add("detail", refusal.detail.utf8)
        add("pipeline", pipeline.utf8)
        add("topic", topic.utf8)
        add("partition", String(partition).utf8)
        add("offset", String(offset).utf8)
        add("version", String(version).utf8)
        if let field = refusal.field { add("field", field.utf8) }
        if let key { add("key", key) }
        var value = value
        if let whole = value, whole.count > Self.valueBytesMaximum {
            value = Array(whole.prefix(Self.valueBytesMaximum))
            add("truncated-from", String(whole.count).utf8)
        }
        return (Array("\(topic)/\(partition)/\(offset)".utf8), value, headers)
    }
}
