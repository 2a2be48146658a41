// Files as events: what a CSV cell becomes, and that reading does not depend on where buffers end.

import Records
import TestSupport
import Testing

@Suite struct EventFileTests {
    static func events(_ name: String, _ content: [UInt8], _ plan: EventPlan) throws -> [(line: Int, json: String)] {
        try withFile(name, content) { path in
            let reader = try EventFile.open(path: path, plan: plan)
            var events: [(line: Int, json: String)] = []
            while let event = try reader.next() { events.append((reader.line, String(decoding: event, as: UTF8.self))) }
            return events
        }
    }

    @Test("a cell becomes what its field is read as")
    func cells() throws {
        let csv = "\u{feff}site,price,clicked,id,note,ctr\r\n" + "7,2.5,1,12,plain,1e3\r\n" + "\r\n" + "\"a,\"\"b\"\"\n\tc\",,true,007,\"\",.5\r\n" + "é\\,-0,false,,01,null"
        let events = try EventFileTests.events("a.csv", Array(csv.utf8), try shopPlan())
        #expect(
            events.map(\.json) == [
                #"{"site":"7","price":2.5,"clicked":1,"id":"12","note":"plain","ctr":1e3}"#,
                #"{"site":"a,\"b\"\u000a\u0009c","price":null,"clicked":true,"id":"007","note":null,"ctr":".5"}"#,
                #"{"site":"é\\","price":-0,"clicked":false,"id":null,"note":"01","ctr":"null"}"#,
            ])
        #expect(events.map(\.line) == [2, 4, 6])
        #expect(decode(events[0].json, try shopPlan()).refusal == nil)
    }

    @Test("a text and a category label are text, other labels are not")
    func readAsText() throws {
        let csv = Array("y,body\n7,12\n".utf8)
        func json(_ kind: LabelKind) throws -> [String] {
            try EventFileTests.events("a.csv", csv, try plan([.text("body", words: 1...1)], label: kind)).map(\.json)
        }
        #expect(try json(.category(classes: ["7", "8"])) == [#"{"y":"7","body":"12"}"#])
        #expect(try json(.number) == [#"{"y":7,"body":"12"}"#])
    }

    @Test("a categorical cell stays a number where the schema allows no string")
    func schema() throws {
        let plan = try shopPlan(schema: #"{"properties":{"site":{"type":["integer","null"]},"user_id":{"type":["integer","string"]}}}"#)
        let events = try EventFileTests.events("a.csv", Array("site,user_id\n7,8\n".utf8), plan)
        #expect(events.map(\.json) == [#"{"site":7,"user_id":"8"}"#])
    }

    @Test(
        "rows that are not right name their line, and the next ones are still read",
        arguments: [
            ("1,2\n1\n3,4\n", 3, "1 cells where the header has 2", 2), ("1,2\n1,2,3\n3,4\n", 3, "3 cells where the header has 2", 2),
            ("1,\"2\"x\n3,4\n", 2, "cell 2 has a quote in it that is not doubled, or something behind its last quote", 1),
            ("1,2\n1,\"2\n3,4\n", 3, "a quote is opened and never closed", 1),
        ])
    func badRows(rows: String, line: Int, message: String, good: Int) throws {
        try withFile("a.csv", Array(("a,b\n" + rows).utf8)) { path in
            let reader = try EventFile.open(path: path, plan: try shopPlan())
            var errors: [RecordsError] = []
            var read = 0
            var more = true
            while more {
                do {
                    more = try reader.next() != nil
                    read += more ? 1 : 0
                } catch {
                    errors.append(try #require(error as? RecordsError))
                }
            }
            #expect(errors == [.file(path: path, line: line, message: message)])
            #expect(read == good)
        }
    }

    @Test("headers need different names")
    func headers() throws {
        for header in ["a,a", "a,", ""] {
            #expect(throws: RecordsError.self) { try EventFileTests.events("a.csv", Array((header + "\n1,2\n").utf8), try shopPlan()) }
        }
        #expect(throws: RecordsError.self) { try EventFileTests.events("a.csv", [], try shopPlan()) }
    }

    @Test("lines of JSON come as they are, blank ones apart")
    func lines() throws {
        let content = "{\"a\":\"\\\"\"}\r\n\n  \t\r\n{\"b\": \"x\" \nnot json\n{}"
        let events = try EventFileTests.events("a.JSONL", Array(content.utf8), try shopPlan())
        #expect(events.map(\.json) == ["{\"a\":\"\\\"\"}\r", "{\"b\": \"x\" ", "not json", "{}"])
        #expect(events.map(\.line) == [1, 4, 5, 6])
        #expect(try EventFileTests.events("a.ndjson", [], try shopPlan()).isEmpty)
    }

    @Test("lines longer than a buffer, and many of them")
    func longLines() throws {
        var random = SeededGenerator(1)
        let lengths = (0..<60).map { _ in Int.random(in: 1...(1 << Int.random(in: 1...20, using: &random)), using: &random) }
        let content = lengths.flatMap { [UInt8](repeating: 0x61, count: $0) + [0x0a] }
        #expect(try EventFileTests.events("a.json", content, try shopPlan()).map(\.json.utf8.count) == lengths)
        let csv = Array("a\n".utf8) + lengths.flatMap { [0x22] + [UInt8](repeating: 0x0a, count: $0) + [0x22, 0x0a] }
        #expect(try EventFileTests.events("a.csv", csv, try shopPlan()).map(\.json.utf8.count) == lengths.map { $0 * 6 + 8 })
        let long = [UInt8](repeating: 0x61, count: EventFile.lineBytesMaximum + (1 << 20))
        #expect(throws: RecordsError.self) { try EventFileTests.events("a.json", long, try shopPlan()) }
    }

    @Test("files that cannot be opened say why")
    func opening() throws {
        let plan = try shopPlan()
        let missing = #expect(throws: RecordsError.self) { try EventFile.open(path: "/nowhere/a.csv", plan: plan) }
        #expect(missing?.description == "/nowhere/a.csv: cannot be opened: No such file or directory")
        let other = #expect(throws: RecordsError.self) { try EventFile.open(path: "a.parquet", plan: plan) }
        #expect(other?.description == "a.parquet: the extension must be .csv, .jsonl, .ndjson or .json")
    }
}
