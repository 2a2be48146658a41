// Where the brokers are and any further librdkafka property. Three layers are set in this order: this module's defaults (the owner may change them),
// the owner's properties, and what the module's promises rest on (which the owner may not set: `reservedProperties`).

import CRDKafka

/// The brokers to talk to, and how.
public struct KafkaConfiguration: Sendable {
    /// Called with a syslog level (0 emergency ... 4 warning ... 7 debug) and a line, from librdkafka's own threads: it must be quick and not wait.
    public typealias Log = @Sendable (_ level: Int32, _ text: String) -> Void

    /// `host:port`, several separated by commas.
    public var brokers: String
    /// librdkafka's properties by name, such as `security.protocol` or `fetch.wait.max.ms`.
    public var properties: [String: String]
    public var log: Log

    public init(brokers: String, properties: [String: String] = [:], log: @escaping Log = { _, _ in }) {
        self.brokers = brokers
        self.properties = properties
        self.log = log
    }

    /// Properties that neither client lets its owner set: the brokers have their own place, the others would take the callbacks away.
    static let reservedProperties: Set<String> = [
        "bootstrap.servers", "metadata.broker.list", "log.queue", "enabled_events", "test.mock.num.brokers",
    ]

    /// Throws for a property that librdkafka does not know or whose value it does not take, or that Freshet sets itself. Connects to nothing.
    ///
    /// - Parameter reserved: as `KafkaConsumer.reservedProperties`, where the properties are for a consumer.
    public func validate(reserved: Set<String> = []) throws {
        rd_kafka_conf_destroy(try makeConf(defaults: [:], reserved: reserved, settings: [:]))
    }

    /// The caller owns the result, until `rd_kafka_new` takes it over by succeeding.
    func makeConf(defaults: [String: String], reserved: Set<String>, settings: [String: String]) throws(KafkaError) -> OpaquePointer {
        guard let conf = rd_kafka_conf_new() else { throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "no memory for a configuration") }
        do throws(KafkaError) {
            try fill(conf, defaults: defaults, reserved: reserved, settings: settings)
        } catch {
            rd_kafka_conf_destroy(conf)
            throw error
        }
        return conf
    }

    private func fill(
        _ conf: OpaquePointer, defaults: [String: String], reserved: Set<String>, settings: [String: String]
    ) throws(KafkaError) {
        guard !brokers.allSatisfy(\.isWhitespace) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, "no brokers are given: host:port, several separated by commas")
        }
        // Sorted, so that of several mistakes the same one is reported every time.
        for name in properties.keys.sorted() where reserved.contains(name) || Self.reservedProperties.contains(name) {
            throw KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, "the property \(name) is set by Freshet itself: remove it")
        }
        for layer in [["bootstrap.servers": brokers, "client.id": "freshet"], defaults, properties, settings] {
            for (name, value) in layer.sorted(by: { $0.key < $1.key }) { try Self.set(conf, name, value) }
        }
    }

    private static func set(_ conf: OpaquePointer, _ name: String, _ value: String) throws(KafkaError) {
        var text = [CChar](repeating: 0, count: 512)
        let result = rd_kafka_conf_set(conf, name, value, &text, text.count)
        guard result != RD_KAFKA_CONF_OK else { return }
        // librdkafka repeats the value, which may be a password.
        let reason = result == RD_KAFKA_CONF_INVALID && holdsSecret(name) ? "its value is not what librdkafka takes" : string(fromBuffer: text)
        throw KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, "the property \(name) is not accepted: \(reason)")
    }

    /// Whether a property's value must not be told.
    package static func holdsSecret(_ name: String) -> Bool {
        ["password", "secret", "token", "key", "pem", "oauthbearer.config"].contains { name.contains($0) }
    }

    /// The values of the owner's properties that librdkafka may not be quoted with.
    var secrets: [String] {
        properties.filter { Self.holdsSecret($0.key) && !$0.value.isEmpty }.map(\.value)
    }
}

/// The text that a C function left in a buffer, up to its terminator.
func string(fromBuffer buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

extension Duration {
    /// Whole milliseconds as C interfaces take them: rounded up, never negative, never past Int32.
    var milliseconds: Int32 {
        let (seconds, attoseconds) = components
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

extension ContinuousClock.Instant {
    /// What remains until this instant; zero once it has passed.
    var remaining: Duration { max(.zero, ContinuousClock.now.duration(to: self)) }
}
