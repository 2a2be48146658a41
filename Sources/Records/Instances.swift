// The body of a request for predictions: {"instances": [{...}, {...}]}, events without labels.

import CSimdJSON
import Synchronization

/// Calls `body` with each instance's JSON, in order, for `EventDecoder.decode(requireLabel: false)`. Other members of the request are checked to be
/// JSON and ignored.
///
/// - Parameters:
///   - request: the bytes of the whole request.
///   - maximum: the most instances that are allowed.
///   - body: the bytes are valid only until it returns.
/// - Returns: the number of instances, at least 1.
/// - Throws: `RecordsError.request`, before the first call.
@discardableResult
public func splitInstances(
    _ request: UnsafeRawBufferPointer, maximum: Int, _ body: (UnsafeRawBufferPointer) -> Void
) throws(RecordsError) -> Int {
    try splitItems(of: "instances", in: request, example: #"{"instances": [{"field": value, ...}, ...]}"#, maximum: maximum, body)
}

/// The same of the items of any one member, which must be an array that is not empty.
///
/// - Parameter example: what a request looks like, for errors.
@discardableResult
public func splitItems(
    of member: String, in request: UnsafeRawBufferPointer, example: String, maximum: Int, _ body: (UnsafeRawBufferPointer) -> Void
) throws(RecordsError) -> Int {
    let example = "a request is \(example)"
    guard request.count > 0, let bytes = request.baseAddress else { throw .request("the request is empty; \(example)") }
    guard request.count < Int(UInt32.max) else { throw .request("the request has 4 GiB or more") }
    let splitter = Splitter.idle.withLock { $0.popLast() } ?? Splitter()
    // Of a large request it has much memory.
    defer { if request.count <= Splitter.keptBytesMax { Splitter.idle.withLock { if $0.count < Splitter.idleMax { $0.append(splitter) } } } }
    let json = splitter.json
    var report = fsj_report()
    var items: UnsafePointer<fsj_span>?
    var count: UInt32 = 0
    let status = fsj_split(
        json, bytes.assumingMemoryBound(to: CChar.self), request.count, member, UInt32(clamping: maximum), &items, &count, &report)
    switch status {
    case FSJ_OK: break
    case FSJ_MALFORMED: throw .request("the request is not JSON: \(report.complaint)")
    case FSJ_NOT_AN_OBJECT: throw .request("the request is not an object; \(example)")
    case FSJ_DUPLICATE_KEY: throw .request("the request has `\(member)` more than once")
    case FSJ_TOO_MANY_ITEMS: throw .request("the request has more than \(maximum) \(member); send several requests")
    default: throw .request("the request has no list `\(member)`; \(example)")
    }
    guard count > 0, let items else { throw .request("`\(member)` is empty; \(example)") }
    for index in 0..<Int(count) { body(UnsafeRawBufferPointer(start: items[index].start, count: items[index].length)) }
    return Int(count)
}

/// What splits requests, kept for the next one.
///
/// `@unchecked Sendable`: whoever has taken it out of the pool is the only one to have it.
private final class Splitter: @unchecked Sendable {
    static let idle = Mutex<[Splitter]>([])
    static let idleMax = 16
    static let keptBytesMax = 1 << 16

    let json = fsj_create("", nil, nil, 0, UInt32(EventDecoder.fieldsMaximum), UInt32(EventDecoder.depthMaximum), 0)

    deinit { fsj_destroy(json) }
}
