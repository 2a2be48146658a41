// CSV files. Each row that the reader accepts must be an event that is JSON, unless the file is not UTF-8.

import Foundation
import Records

struct CSVTarget: FuzzTarget {
    static let inputBytesMaximum = 1024

    private let plans: [EventPlan]
    /// A file without a name.
    private let descriptor: Int32

    init() throws {
        plans = try EventTarget.allPlans()
        var name = Array((FileManager.default.temporaryDirectory.path + "/freshet-XXXXXX").utf8CString)
        descriptor = mkstemp(&name)
        check(descriptor >= 0 && unlink(name) == 0, "no temporary file")
    }

    static func seeds() -> [[UInt8]] {
        let files = [
            "id,a,b,n,m,y,t\r\n1,x,7,0.5,2,1,1700000000\r\n\"2\",\"a \"\"b\"\"\nc\",,1e3,-0,0,0\n", "\u{feff}a,b,c,y\n1,true,é,0\n\n01,null,\"\",1",
            "\"q\"\"uote\",\"new\nline\"\n1,2\n", "a\n\u{1}\\\n",
        ]
        return (0..<5 as Range<UInt8>).flatMap { plan in files.map { [plan] + Array($0.utf8) } }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard let first = input.first else { return }
        let plan = plans[Int(first) % plans.count]
        let file = UnsafeRawBufferPointer(rebasing: input[1...])
        check(ftruncate(descriptor, 0) == 0 && pwrite(descriptor, file.baseAddress, file.count, 0) == file.count, "the file")
        let isText = String(validating: file, as: UTF8.self) != nil
        guard let reader = try? CSVReader(path: "/proc/self/fd/\(descriptor)", plan: plan) else { return }
        let decoder = EventDecoder(plan)
        let batch = ExampleBatch()
        var line = 0
        // Every row is shorter than the file, so there are no more of them than bytes.
        for _ in 0...file.count {
            do {
                guard let row = try reader.next() else { return }
                check(reader.line > line, "line \(reader.line) behind line \(line)")
                line = reader.line
                decoder.decode(row, offset: 0, into: batch)
                if isText, let refusal = batch.refusals.last, batch.examples[batch.count - 1].refusal >= 0 {
                    check(![.malformedJSON, .notAnObject, .duplicateKey].contains(refusal.reason), "\(refusal.detail): \(String(decoding: row, as: UTF8.self))")
                }
            } catch {
                check("\(error)".utf8.count < 4000, "a long error")
            }
        }
        check(false, "more rows than bytes")
    }
}
