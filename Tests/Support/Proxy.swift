// A TCP proxy that misbehaves: it cuts connections, holds what flows through them, and refuses new ones, when a test says so.

import Foundation

/// Listens on the loopback interface and passes bytes on to one place. Any thread may use it.
public final class Proxy: Sendable {
    public enum Target: Sendable {
        case port(Int)
        case unixSocket(String)
    }

    /// Where it listens.
    public let port: Int
    private let target: Target
    private let listener: Int32
    private let state = Locked(State())

    private struct State: Sendable {
        var isStopped = false
        var isStalled = false
        var refuses = false
        /// The next connections are cut when so many more bytes have gone to the target through them.
        var bytesUntilCut: Int?
        /// Open connections: both sockets of each.
        var pairs: [Int: (client: Int32, target: Int32)] = [:]
        var made = 0
    }

    public init(to target: Target) throws {
        self.target = target
        let local = try LocalListener()
        (listener, port) = (local.descriptor, local.port)
        Thread.detachNewThread { [self] in accepting() }
    }

    /// How many connections have been made through it.
    public var connections: Int { state.with { $0.made } }

    /// Ends every connection, in both directions, in the middle of whatever flows.
    public func cut() {
        state.with { state in
            for pair in state.pairs.values {
                shutdown(pair.client, Int32(SHUT_RDWR))
                shutdown(pair.target, Int32(SHUT_RDWR))
            }
        }
    }

    /// Cuts everything once so many more bytes have gone to the target: inside a statement, a COPY, a batch.
    public func cut(afterBytes count: Int) { state.with { $0.bytesUntilCut = count } }

    /// Bytes wait while this is on, and connections are neither ended nor answered.
    public func stall(_ on: Bool) { state.with { $0.isStalled = on } }

    /// New connections are closed at once while this is on.
    public func refuse(_ on: Bool) { state.with { $0.refuses = on } }

    public func stop() {
        state.with { $0.isStopped = true }
        cut()
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func accepting() {
        var number = 0
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else {
                if errno == EINTR || errno == ECONNABORTED { continue }
                break
            }
            guard !state.with({ $0.isStopped || $0.refuses }), let onward = connect() else {
                close(client)
                continue
            }
            number += 1
            let id = number
            state.with {
                $0.pairs[id] = (client, onward)
                $0.made += 1
            }
            let ends = Locked(2)
            for (from, to, isUp) in [(client, onward, true), (onward, client, false)] {
                Thread.detachNewThread { [self] in
                    pass(from, to, isUp: isUp)
                    // The other direction ends too; the last one closes, so no descriptor is used again while one of them still reads it.
                    shutdown(from, Int32(SHUT_RDWR))
                    shutdown(to, Int32(SHUT_RDWR))
                    if ends.with({ $0 -= 1; return $0 == 0 }) {
                        state.with { _ = $0.pairs.removeValue(forKey: id) }
                        close(client)
                        close(onward)
                    }
                }
            }
        }
        close(listener)
    }

    private func pass(_ from: Int32, _ to: Int32, isUp: Bool) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(from, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            while state.with({ $0.isStalled && !$0.isStopped }) { usleep(5000) }
            if isUp, state.with({ isDue(&$0, count) }) { cut() }
            var sent = 0
            while sent < count {
                let written = buffer.withUnsafeBytes { send(to, $0.baseAddress.map { $0 + sent }, count - sent, Int32(MSG_NOSIGNAL)) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return }
                sent += written
            }
        }
    }

    private func isDue(_ state: inout State, _ count: Int) -> Bool {
        guard let left = state.bytesUntilCut else { return false }
        state.bytesUntilCut = left > count ? left - count : nil
        return left <= count
    }

    private func connect() -> Int32? {
        switch target {
        case .port(let port): return connectToLoopback(port)
        case .unixSocket(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
            return connected(AF_UNIX, &address)
        }
    }
}

/// A connection to a port of the loopback interface; nil where nobody listens.
func connectToLoopback(_ port: Int) -> Int32? {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return connected(AF_INET, &address)
}

private func connected<Address>(_ family: Int32, _ address: inout Address) -> Int32? {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size)) }
    }
    guard status == 0 else {
        close(descriptor)
        return nil
    }
    return descriptor
}
