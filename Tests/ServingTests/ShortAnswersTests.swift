// Which requests are answered on the event loop, and that nothing is lost between them and those that are passed on.

import NIOCore
import NIOEmbedded
import NIOHTTP1
import Serving
import Testing

@Suite struct ShortAnswersTests {
    private func head(_ fields: [(String, String)] = [], length: Int = 4, version: HTTPVersion = .http1_1) -> HTTPServerRequestPart {
        .head(HTTPRequestHead(version: version, method: .POST, uri: "/short", headers: HTTPHeaders([("content-length", "\(length)")] + fields)))
    }

    /// Gives `body` a connection whose requests of at most ten bytes are answered with what they bring.
    private func withConnection(_ body: (EmbeddedChannel) throws -> Void) throws {
        let channel = EmbeddedChannel(
            handler: ShortAnswers { head, bytes in
                guard bytes <= 10, head.uri == "/short" else { return nil }
                return { body in PageResponse(status: 200, type: "text/plain", headers: [("a", "b")], body: .bytes(Array(body))) }
            })
        try body(channel)
        #expect(try channel.finish().isClean)
    }

    private func send(_ channel: EmbeddedChannel, _ head: HTTPServerRequestPart, _ parts: [String] = ["wo", "rd"]) throws {
        try channel.writeInbound(head)
        for part in parts { try channel.writeInbound(HTTPServerRequestPart.body(ByteBuffer(string: part))) }
        try channel.writeInbound(HTTPServerRequestPart.end(nil))
    }

    /// The parts that were passed on.
    private func passedOn(_ channel: EmbeddedChannel) throws -> Int {
        var count = 0
        while try channel.readInbound(as: HTTPServerRequestPart.self) != nil { count += 1 }
        return count
    }

    /// The bodies that were answered, of whole answers.
    private func answers(_ channel: EmbeddedChannel) throws -> [String] {
        var found: [String] = []
        while let part = try channel.readOutbound(as: HTTPServerResponsePart.self) {
            guard case .head(let head) = part else { continue }
            #expect(head.status == .ok && head.headers["content-type"] == ["text/plain"] && head.headers["a"] == ["b"])
            guard case .body(.byteBuffer(let body)) = try channel.readOutbound(as: HTTPServerResponsePart.self),
                case .end = try channel.readOutbound(as: HTTPServerResponsePart.self)
            else { return found + ["torn"] }
            #expect(head.headers["content-length"] == ["\(body.readableBytes)"])
            found.append(String(buffer: body))
        }
        return found
    }

    /// Protects: a short request is answered at its end, and nobody behind hears of it; the next one is another.
    @Test func answered() throws {
        try withConnection { channel in
            try send(channel, head())
            try send(channel, head(length: 0), [])
            try send(channel, head(length: 3), ["e", "n", "d"])
            #expect(try answers(channel) == ["word", "", "end"] && passedOn(channel) == 0)
        }
    }

    /// Protects: what asks for more than an answer, or does not say how long it is, is passed on whole.
    @Test func others() throws {
        let unknown = HTTPServerRequestPart.head(HTTPRequestHead(version: .http1_1, method: .POST, uri: "/short", headers: ["transfer-encoding": "chunked"]))
        for request in [head(length: 11), head([("expect", "100-continue")]), head([("connection", "close")]), head(version: .http1_0), unknown] {
            try withConnection { channel in
                try send(channel, request)
                #expect(try passedOn(channel) == 4 && answers(channel) == [])
            }
        }
    }

    /// Protects the order of answers: behind a request that was passed on, all are, until each of those has its answer.
    @Test func order() throws {
        try withConnection { channel in
            try send(channel, head(length: 11))
            try send(channel, head())
            #expect(try passedOn(channel) == 8 && answers(channel) == [])
            let answer: [HTTPServerResponsePart] = [
                .head(HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-type": "text/plain", "a": "b", "content-length": "1"])),
                .body(.byteBuffer(ByteBuffer(string: "1"))), .end(nil),
            ]
            for part in answer { try channel.writeOutbound(part) }
            try send(channel, head())
            #expect(try passedOn(channel) == 4)
            for part in answer + answer { try channel.writeOutbound(part) }
            #expect(try answers(channel) == ["1", "1", "1"])
            try send(channel, head())
            #expect(try answers(channel) == ["word"] && passedOn(channel) == 0)
        }
    }

    /// Protects memory: a client that does not take its answers is left to what stops reading.
    @Test func unread() throws {
        try withConnection { channel in
            channel.isWritable = false
            try send(channel, head())
            #expect(try passedOn(channel) == 4 && answers(channel) == [])
        }
    }
}
