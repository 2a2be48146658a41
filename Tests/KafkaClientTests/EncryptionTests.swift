import Foundation
import KafkaClient
import Synchronization
import TestSupport
import Testing

/// What properties make of a connection, seen from its other end: `openssl s_server` for TLS, a scripted socket for SASL. Neither is a broker, so what is tested
/// ends where the first request of the Kafka protocol has arrived.
@Suite(.serialized) struct EncryptionTests {
    /// Ends the process with the test.
    private final class TLSServer {
        let port: Int
        private let process = Process()
        private let input = Pipe(), output = Pipe()
        private let seen = Locked<[UInt8]>([])

        init(_ certificates: Certificates, _ more: [String] = []) throws {
            port = try freePort()
            process.executableURL = URL(fileURLWithPath: try #require(Certificates.openssl))
            process.arguments =
                ["s_server", "-accept", "127.0.0.1:\(port)", "-cert", "server.pem", "-key", "server.key", "-quiet"] + more
            process.currentDirectoryURL = URL(fileURLWithPath: certificates.folder)
            process.standardInput = input
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            output.fileHandleForReading.readabilityHandler = { [seen] handle in
                let bytes = [UInt8](handle.availableData)
                seen.with { $0 += bytes }
            }
            try process.run()
        }

        deinit {
            output.fileHandleForReading.readabilityHandler = nil
            // Not SIGTERM: it is blocked where the thread that started the process has it blocked.
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }

        /// What arrived inside the encrypted connection.
        var text: String { String(decoding: seen.with { $0 }, as: UTF8.self) }
    }

    private let soon = [
        "broker.address.family": "v4", "reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "200", "client.id": "the-client",
    ]

    private func consumer(_ port: Int, _ properties: [String: String]) throws -> KafkaConsumer {
        try KafkaConsumer(
            KafkaConfiguration(brokers: "localhost:\(port)", properties: soon.merging(properties) { $1 }), groupID: "tests")
    }

    /// Protects: the authority is checked, the client shows its certificate, and both clients do so by the same properties.
    @Test(.enabled(if: Certificates.openssl != nil, "openssl is not on this machine")) func certificates() throws {
        let certificates = try Certificates(client: "learner")
        let server = try TLSServer(certificates, ["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"])
        let good = [
            "security.protocol": "ssl", "ssl.ca.location": certificates.path("ca.pem"),
            "ssl.certificate.location": certificates.path("client.pem"), "ssl.key.location": certificates.path("client-locked.key"),
            "ssl.key.password": Certificates.keyPassword,
        ]
        let consumer = try consumer(server.port, good)
        #expect(kafkaError { _ = try consumer.partitionCount(of: "t", timeout: .milliseconds(500)) }?.isRetriable == true)
        #expect(eventually { server.text.contains("the-client") })
        consumer.close(timeout: patience)
        let producer = try KafkaProducer(
            KafkaConfiguration(brokers: "localhost:\(server.port)", properties: soon.merging(good) { $1 }.merging(["client.id": "the-producer"]) { $1 })
        ) { _ in }
        #expect(eventually { server.text.contains("the-producer") })
        producer.close(timeout: .zero)

        // One clear line with the remedy, at once, instead of waiting for a broker that is not away.
        var wrong = good
        wrong["ssl.ca.location"] = certificates.path("other-ca.pem")
        let begin = ContinuousClock.now
        let error = kafkaError { _ = try self.consumer(server.port, wrong).partitionCount(of: "t", timeout: .seconds(60)) }
        #expect(error?.name == "_SSL" && error?.message.contains("ssl.ca.location") == true, "\(error?.description ?? "")")
        #expect(error?.message.contains("\n") == false && ContinuousClock.now - begin < .seconds(30))
        // The name is checked, too, unless it is asked not to be.
        let byAddress = kafkaError {
            _ = try KafkaConsumer(
                KafkaConfiguration(brokers: "127.0.0.1:\(server.port)", properties: soon.merging(good) { $1 }), groupID: "tests"
            ).partitionCount(of: "t", timeout: .seconds(60))
        }
        #expect(byAddress?.name == "_SSL", "\(byAddress?.description ?? "")")

        var locked = good
        locked["ssl.key.password"] = "hunter2-wrong"
        let refused = kafkaError { _ = try self.consumer(server.port, locked) }
        #expect(refused?.message.contains("ssl.key.location") == true && refused?.description.contains("hunter2") == false, "\(refused?.description ?? "")")
    }

    /// A broker that knows two requests, ApiVersions and SaslHandshake: https://kafka.apache.org/protocol
    private final class SASLSocket: Sendable {
        let listener: LocalListener
        let mechanism = Mutex<String?>(nil)
        let token = Mutex<[UInt8]?>(nil)

        /// - Parameter error: what the handshake is answered with.
        init(error: Int16 = 0) throws {
            listener = try LocalListener()
            let descriptor = listener.descriptor
            Thread.detachNewThread { [self] in
                while true {
                    let client = accept(descriptor, nil, nil)
                    guard client >= 0 else { return }
                    serve(client, error)
                    Foundation.close(client)
                }
            }
        }

        deinit { stop() }

        func stop() {
            shutdown(listener.descriptor, Int32(SHUT_RDWR))
            listener.close()
        }

        private func serve(_ client: Int32, _ error: Int16) {
            func bytes(_ count: Int) -> [UInt8]? {
                var buffer = [UInt8](repeating: 0, count: count)
                var length = 0
                while length < count {
                    let got = buffer.withUnsafeMutableBytes { recv(client, $0.baseAddress?.advanced(by: length), count - length, 0) }
                    guard got > 0 else { return nil }
                    length += got
                }
                return buffer
            }
            func frame() -> [UInt8]? { bytes(4).flatMap { bytes($0.reduce(0) { $0 << 8 | Int($1) }) } }
            func answer(_ request: [UInt8], _ code: Int16, _ items: [UInt8]) {
                let code = UInt16(bitPattern: code)
                let body = Array(request[4..<8]) + [UInt8(code >> 8), UInt8(code & 255)] + items
                let bytes = [0, 0, 0, UInt8(body.count)] + body
                _ = bytes.withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            }
            var request = frame()
            // The client may ask first which requests there are: in a version that is refused, then in version 0.
            while let asked = request, asked.count > 10, asked[1] == 18 {
                let known: [UInt8] = [0, 0, 0, 2, 0, 17, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0]
                answer(asked, asked[3] == 0 ? 0 : 35, known)
                request = frame()
            }
            // Kind, version, correlation, client's name, and the mechanism's.
            guard let request, request.count > 10, request[1] == 17 else { return }
            let name = 10 + Int(request[9])
            mechanism.withLock { $0 = String(decoding: request[(name + 2)...], as: UTF8.self) }
            answer(request, error, [0, 0, 0, 1, 0, 5] + Array("PLAIN".utf8))
            if let sent = frame() { token.withLock { $0 = sent } }
        }
    }

    private let plain = [
        "security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "learner", "sasl.password": "hunter2-sasl",
        "api.version.request": "false", "broker.version.fallback": "0.10.0.0",
    ]

    /// Protects: user and password arrive as RFC 4616 has them.
    @Test func plainPasswordArrives() throws {
        let broker = try SASLSocket()
        let consumer = try consumer(broker.listener.port, plain)
        #expect(eventually { broker.token.withLock { $0 } != nil })
        #expect(broker.mechanism.withLock { $0 } == "PLAIN")
        #expect(broker.token.withLock { $0 } == Array("\0learner\0hunter2-sasl".utf8))
        consumer.close(timeout: patience)
    }

    /// Protects: a broker that refuses ends the waiting with its reason; the password is in no line of it, librdkafka's own words included.
    @Test func refusedLoginsAreTold() throws {
        let broker = try SASLSocket(error: 33)
        let lines = Locked<[String]>([])
        var properties = soon.merging(plain) { $1 }
        properties["debug"] = "all"
        let consumer = try KafkaConsumer(
            KafkaConfiguration(brokers: "localhost:\(broker.listener.port)", properties: properties) { _, line in lines.with { $0.append(line) } },
            groupID: "tests")
        let error = kafkaError { _ = try consumer.partitionCount(of: "t", timeout: .seconds(60)) }
        #expect(error?.isRetriable == false && error?.message.contains("SASL") == true, "\(error?.description ?? "")")
        consumer.close(timeout: patience)
        let all = lines.with { $0 } + [error?.description ?? ""]
        #expect(all.count > 10)
        for line in all { #expect(!line.contains("hunter2")) }
    }

    /// Protects: a mechanism that does not exist, or a login without its parts, is refused before anything starts.
    @Test(arguments: [
        ["sasl.mechanism": "PLAYN"], ["sasl.mechanism": "PLAIN"], ["security.protocol": "sasl"], ["security.protocol": "ssl", "ssl.ca.location": "/absent.pem"],
        ["security.protocol": "ssl", "ssl.cipher.suites": "none-such"], ["ssl.key.pem": "hunter2", "security.protocol": "ssl"],
        ["sasl.password": "hunter2", "sasl.mechanism": "hunter-2", "security.protocol": "sasl_plaintext", "sasl.username": "u"],
    ])
    func mistakesAreRefused(properties: [String: String]) {
        let base = ["security.protocol": "sasl_plaintext"]
        let error = kafkaError { _ = try consumer(1, base.merging(properties) { $1 }) }
        #expect(error?.isRetriable == false && error?.description.contains("hunter2") == false, "\(error?.description ?? "")")
    }
}
