// The recorded order, as it is stored with a version.

import Model
import Pipeline

struct EntryTarget: FuzzTarget {
    static let inputBytesMaximum = 512

    static func seeds() throws -> [[UInt8]] {
        let text = [
            #"{"kind":"define","learning_hash":"ab"}"#, #"{"kind":"start","partitions":[{"offset":5,"partition":0}]}"#,
            #"{"kind":"reference","version":9,"window":{"events":10,"logloss":0.5,"auc":0.75}}"#,
        ]
        let commands = text.map { text in
            var writer = ByteWriter()
            writer.append(varint: 2)
            writer.append(text)
            return writer.bytes
        }
        let run: [UInt8] = [1, 0, 3, 0xac, 0x02, 0xc8, 0x01, 0xc6, 0x01, 2]
        return commands + [run, commands.flatMap { $0 } + run + run]
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard let entries = try? Entry.decode(Array(input)) else { return }
        do {
            let again = try Entry.decode(try Entry.encode(entries))
            check(again == entries, "read back as something else: \(entries), \(again)")
        } catch {
            fatalError("entries that were read cannot be written: \(error)")
        }
    }
}
