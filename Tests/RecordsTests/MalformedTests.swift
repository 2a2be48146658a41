// What is JSON and what is not, against a slow validator that is written from RFC 8259 alone.

import Foundation
import Records
import TestSupport
import Testing

@Suite struct MalformedTests {
    static let seeds = [
        #"{"id":"8d1","ts":1700000000123,"user_id":7,"site":"a\"b","price":2.5,"ctr":0.125,"x":[1,{"y":null}],"clicked":1}"#,
        #"{"x":["a",7,true],"deep":{"a":1.5,"b":-2},"n":[0.125,-1e-3],"text":"Abc d","clicked":1}"#,
        #"{"clicked":true,"site":"\ud83d\ude00é\/","deep":{"a":{"b":[[],{},[true,false]]}},"n":-1.5E+10,"user_id":"u"}"#,
        "  {\n\t\"clicked\" : 0 ,\r\n \"price\" : -0.0e-5 , \"text\" : \"plain text that is longer than a register of sixty-four bytes, to be sure\" } ",
    ]
    static let pieces = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "NaN", "Infinity", "-", ".", "e", "E+", "0", "00", "1e999", "-0", "\\u00e9",
        "\\ud83d\\ude00", "\\ud83d", "\\udc00", "\\u12", "\\x41", "\\n", "\n", "\t", "\u{c}", "\u{0}", "\u{1a}", "\u{1f}", "\u{7f}", "é",
        "😀", " ", "{\"a\":1}", "[1,[3]]", "\"\"", "//", "'", ",\"site\":\"x\"", ",\"zz\":{\"z\":1,\"z\":2}", "+1", ".5", "1.", "01", "\u{feff}",
    ].map { Array($0.utf8) } + [[0x80], [0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]]

    @Test("a hundred thousand mutated events", arguments: 1...4 as ClosedRange<UInt64>)
    func mutations(seed: UInt64) throws {
        let decoder = EventDecoder(try shopPlan())
        // Containers that are read are walked by other code; here, whatever they hold, only whether it is JSON counts.
        let reader = EventDecoder(try plan([.set("x"), .weightedMap("deep"), .dense("n", size: 2), .text("text", words: 1...1)]))
        var random = SeededGenerator(seed)
        var refused = 0
        for _ in 0..<25_000 {
            let bytes = random.mutated(Array(MalformedTests.seeds.randomElement(using: &random)!.utf8), pieces: MalformedTests.pieces)
            guard !bytes.isEmpty else { continue }
            let expected = ReferenceJSON.verdict(bytes, depthMaximum: EventDecoder.depthMaximum)
            let decoded = decode(bytes, decoder)
            let found: ReferenceJSON.Verdict =
                switch decoded.reason {
                case .malformedJSON: .malformed
                case .notAnObject: .notAnObject
                case .duplicateKey: .duplicateKey
                default: .event
                }
            #expect(found == expected, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
            if decoded.refusal != nil { refused += 1 }
            #expect((decode(bytes, reader).reason == .malformedJSON) == (expected == .malformed))
        }
        #expect(refused > 10_000 && refused < 24_000)
    }

    @Test("nesting up to the limit")
    func nesting() throws {
        let decoder = EventDecoder(try shopPlan())
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            func event(_ depth: Int) -> [UInt8] {
                Array((#"{"clicked":1,"x":"# + String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth) + "}").utf8)
            }
            #expect(decode(event(EventDecoder.depthMaximum - 1), decoder).refusal == nil)
            #expect(decode(event(EventDecoder.depthMaximum), decoder).reason == .malformedJSON)
            #expect(decode(event(400_000 / (open.count + 1)), decoder).reason == .malformedJSON)
        }
    }

    @Test("every prefix of an event is refused, and so is anything behind it")
    func prefixes() throws {
        let decoder = EventDecoder(try shopPlan())
        for seed in MalformedTests.seeds {
            let bytes = Array(seed.utf8)
            #expect(decode(bytes, decoder).refusal == nil)
            for count in 1..<(bytes.lastIndex(of: 0x7d) ?? 0) { #expect(decode(Array(bytes[..<count]), decoder).reason == .malformedJSON) }
            for tail in ["x", "{}", "]", "\0", "0", "\"\""] { #expect(decode(bytes + Array(tail.utf8), decoder).reason == .malformedJSON) }
        }
    }

    /// Protects: what the CSV reader makes of any file is JSON, and it ends.
    @Test("two thousand mutated CSV files")
    func files() throws {
        let plan = try shopPlan()
        let seeds = [
            "id,site,clicked,user_id,price,ctr,ts\r\n1,x,1,7,2.5,0.5,1700000000\r\n\"2\",\"a \"\"b\"\"\nc\",0,,1e3,-0,0\n",
            "\u{feff}site,x,clicked\n1,true,0\n\n01,é,1",
        ].map { Array($0.utf8) }
        let pieces = ["\"", "\"\"", ",", "\n", "\r\n", "\"\n", "\\", "\u{1}", "\u{feff}", "1e5", "01", "é"].map { Array($0.utf8) }
        var random = SeededGenerator(31)
        var rows = 0
        try withFile("mutated.csv", []) { path in
            for _ in 0..<2_000 {
                let bytes = random.mutated(random.mutated(seeds.randomElement(using: &random)!, pieces: pieces), pieces: pieces)
                try Data(bytes).write(to: URL(filePath: path))
                guard let reader = try? CSVReader(path: path, plan: plan) else { continue }
                let decoder = EventDecoder(plan)
                for _ in 0...bytes.count {
                    guard let row = try? reader.next() else { break }
                    rows += 1
                    let reason = decode(Array(row), decoder).reason
                    if String(validating: bytes, as: UTF8.self) != nil { #expect(reason != .malformedJSON && reason != .notAnObject && reason != .duplicateKey) }
                }
            }
        }
        #expect(rows > 500)
    }

    /// Protects: an instance is a whole JSON value within the request, and a request that is not JSON has none.
    @Test("five thousand mutated requests")
    func requests() throws {
        let seeds = [
            #"{"instances":[{"site":"x","price":1.5},{"user_id":7,"ctr":null}]}"#,
            #" { "x" : {"instances":[]} , "instances" : [ {"site":"\ud83d\ude00"} , [1,{"a":[]}] , "t" , -1.5e3 ] , "signature_name":"s" } "#,
        ].map { Array($0.utf8) }
        let pieces = MalformedTests.pieces + [#""instances":["#, "]", "},{"].map { Array($0.utf8) }
        var random = SeededGenerator(32)
        var found = 0
        for _ in 0..<5_000 {
            let bytes = random.mutated(seeds.randomElement(using: &random)!, pieces: pieces)
            let verdict = ReferenceJSON.verdict(bytes, depthMaximum: EventDecoder.depthMaximum)
            var seen = 0
            let count = try? bytes.withUnsafeBytes { request in
                try splitInstances(request, maximum: 8) { instance in
                    seen += 1
                    #expect(ReferenceJSON.verdict(Array(instance), depthMaximum: EventDecoder.depthMaximum) != .malformed)
                }
            }
            #expect(seen == count ?? 0)
            if verdict == .malformed || verdict == .notAnObject { #expect(count == nil) }
            found += seen
        }
        #expect(found > 1_000)
    }
}
