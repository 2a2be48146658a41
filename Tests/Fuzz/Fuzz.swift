// Fuzz targets over everything that reads bytes from outside: `make fuzz`, or `freshet-fuzz TARGET [libFuzzer's options] [files]`.
//
// A target is a function of its input that traps when something is wrong; libFuzzer (LLVM) looks for inputs that make it, by the coverage of the
// instrumented code. Where plain bytes would get nowhere the input is what is inside: bodies before they are compressed, messages before their check.
// The build is checked (-O) and has the address sanitizer; the program itself is built with -Ounchecked in places, so what traps here may be
// anything there. ModelSlot, Follower and ServingError are links to the Serving target's files, which without its HTTP server are quick to build.

import Foundation

protocol FuzzTarget {
    /// Inputs to begin from: every branch that is hard to find.
    static func seeds() throws -> [[UInt8]]
    static var inputBytesMaximum: Int { get }
    init() throws
    /// One input; traps if something is wrong.
    func run(_ input: UnsafeRawBufferPointer)
}

/// Traps unless `condition` holds: libFuzzer keeps the input.
func check(_ condition: Bool, _ what: @autoclosure () -> String, line: UInt = #line) {
    if !condition { fatalError("\(what()) (line \(line))") }
}

/// libFuzzer's main asks for the input's function, after this one has made the command line.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>
) -> Int32 {
    do {
        let words = try Fuzz.prepare(CommandLine.arguments)
        // They live as long as the process.
        arguments.pointee = .allocate(capacity: words.count + 1)
        for (index, word) in words.enumerated() { arguments.pointee[index] = strdup(word) }
        arguments.pointee[words.count] = nil
        count.pointee = Int32(words.count)
        return 0
    } catch { fatalError("\(error)") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    Fuzz.target?.run(UnsafeRawBufferPointer(start: bytes, count: size))
    return 0
}

enum Fuzz {
    private static var targets: [(name: String, type: any FuzzTarget.Type)] {
        [
            ("events", EventTarget.self), ("requests", RequestTarget.self), ("csv", CSVTarget.self), ("publications", PublicationTarget.self),
            ("snapshots", SnapshotTarget.self), ("entries", EntryTarget.self), ("pipelines", PipelineTarget.self),
        ]
    }

    /// The one that runs; libFuzzer calls it from one thread, and its function takes no context.
    nonisolated(unsafe) fileprivate static var target: (any FuzzTarget)?

    /// Makes the target that the command line names, and libFuzzer's command line: limits, dictionary, and the corpus unless files are named.
    fileprivate static func prepare(_ given: [String]) throws -> [String] {
        let names = targets.map(\.name).joined(separator: " ")
        let rest = given.dropFirst(2)
        guard given.count > 1, let type = targets.first(where: { $0.name == given[1] })?.type else {
            print(given.count == 2 && given[1] == "list" ? names : "freshet-fuzz TARGET [libFuzzer's options] [files to run again]; targets: \(names)")
            exit(given.count == 2 && given[1] == "list" ? 0 : 64)
        }
        target = try type.init()
        var words = [given[0], "-max_len=\(type.inputBytesMaximum)", "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=512", "-print_final_stats=1"]
        words.append("-dict=\(URL(filePath: #filePath).deletingLastPathComponent().appending(path: "words.dict").path)")
        words += rest
        if rest.allSatisfy({ $0.hasPrefix("-") }) { words.append(try corpus(given[1], type)) }
        return words
    }

    /// The folder of the inputs found so far, with the seeds: in FRESHET_CORPUS, or the current folder's `.build/corpus`.
    private static func corpus(_ name: String, _ type: any FuzzTarget.Type) throws -> String {
        let root = ProcessInfo.processInfo.environment["FRESHET_CORPUS"] ?? ".build/corpus"
        let folder = URL(filePath: root).appending(path: name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (index, seed) in try type.seeds().enumerated() { try Data(seed).write(to: folder.appending(path: "seed-\(index)")) }
        return folder.path
    }
}

extension UnsafeRawBufferPointer {
    /// The pieces between bytes of one value.
    func split(at separator: UInt8) -> [UnsafeRawBufferPointer] {
        split(separator: separator, omittingEmptySubsequences: false).map { UnsafeRawBufferPointer(rebasing: $0) }
    }
}
