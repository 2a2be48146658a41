// The tensors of the Open Inference Protocol, and how fields of events become them.
//
// A field that a feature reads is one input tensor of the batch's length: BYTES for text and categories, any number type for numbers. A dense vector's has
// a second dimension. A set or a weighted map has no shape, so an element of its tensor is JSON text, as an event would have it. A field that is
// not among the tensors is absent, as is an element that is null in JSON, or NaN in binary data.

import Foundation
import Records

/// A field of events as clients send it.
struct InputField: Sendable {
    enum Form: Sendable, Equatable { case text, number, json, dense(size: Int) }

    let name: String
    let form: Form

    /// The fields that a plan's features read, in order of declaration.
    static func all(of plan: EventPlan) -> [InputField] {
        var seen: Set<String> = []
        var fields: [InputField] = []
        func add(_ name: String, _ form: Form) { if seen.insert(name).inserted { fields.append(InputField(name: name, form: form)) } }
        for feature in plan.features {
            switch feature.kind {
            case .categorical, .text: add(feature.name, .text)
            case .numeric, .buckets: add(feature.name, .number)
            case .dense(let size): add(feature.name, .dense(size: size))
            case .set, .weightedMap: add(feature.name, .json)
            case .cross: break
            }
        }
        // What only crosses read is categorical.
        for feature in plan.features { if case .cross(let names) = feature.kind { for name in names { add(name, .text) } } }
        return fields
    }

    /// The field in a model's metadata.
    var metadata: String {
        let (datatype, shape): (Tensor.Datatype, String) =
            switch form {
            case .text, .json: (.bytes, "-1")
            case .number: (.fp64, "-1")
            case .dense(let size): (.fp32, "-1,\(size)")
            }
        let parameters = form == .json ? #","parameters":{"content_type":"json"}"# : ""
        return "{\"name\":\(jsonString(name)),\"datatype\":\"\(datatype.rawValue)\",\"shape\":[\(shape)]\(parameters)}"
    }
}

/// The fields that a model's features read.
struct InputFields: Sendable {
    let all: [InputField]
    /// Each one's name as a member of an instance, with its colon.
    fileprivate let keys: [[UInt8]]
    private let numbers: [String: Int]

    init(_ plan: EventPlan) {
        all = InputField.all(of: plan)
        keys = all.map { Array("\(jsonString($0.name)):".utf8) }
        numbers = Dictionary(all.enumerated().map { ($1.name, $0) }) { first, _ in first }
    }

    /// Which field has the name that a JSON string is; `guess` is looked at first.
    fileprivate func number(_ name: JSONText, guess: Int) -> Int? {
        if guess < keys.count, name.bytes.elementsEqual(keys[guess].dropLast()) { return guess }
        return name.string.flatMap { numbers[$0] }
    }
}

/// One input of a request. Valid as long as the request's bytes are. A class, as its parts are asked for again and again.
final class Tensor {
    enum Datatype: String, CaseIterable {
        case bool = "BOOL", uint8 = "UINT8", uint16 = "UINT16", uint32 = "UINT32", uint64 = "UINT64", int8 = "INT8", int16 = "INT16", int32 = "INT32",
            int64 = "INT64", fp16 = "FP16", bf16 = "BF16", fp32 = "FP32", fp64 = "FP64", bytes = "BYTES"

        init?(_ name: JSONText) {
            let content = name.bytes.dropFirst().dropLast()
            guard name.isString else { return nil }
            // One that is written with escapes is read as text.
            guard let datatype = Self.allCases.first(where: { content.elementsEqual($0.rawValue.utf8) }) ?? name.string.flatMap(Self.init(rawValue:)) else { return nil }
            self = datatype
        }

        /// Of an element in binary data; of BYTES the length before it.
        var byteCount: Int {
            switch self {
            case .bool, .uint8, .int8: 1
            case .uint16, .int16, .fp16, .bf16: 2
            case .uint32, .int32, .fp32, .bytes: 4
            case .uint64, .int64, .fp64: 8
            }
        }
    }

    /// Room for so many elements is taken before they are counted.
    private static let leavesExpected = 16

    private enum Elements {
        case json([JSONText])
        /// Behind a request's JSON; of BYTES an element each, of others one behind the other.
        case texts([UnsafeRawBufferPointer])
        case binary(UnsafeRawBufferPointer)
    }

    let field: InputField
    let fieldNumber: Int
    /// Instances.
    let count: Int
    private let datatype: Datatype
    private let elements: Elements
    /// Elements of one instance.
    private let width: Int
    /// The field's name as a member of an instance, with its colon.
    private let key: [UInt8]

    /// The members of an input, of which the last of a name counts.
    private struct Members {
        var name, shape, datatype, parameters: JSONText?
        /// The items of a list; nil if there is none.
        var data: [JSONText]?
        var hasData = false

        /// - Parameter leaves: how many there may be.
        init(_ cursor: inout JSONCursor, leaves: Int) {
            guard cursor.enter("{") else { _ = cursor.value(); return }
            while cursor.next() {
                let key = cursor.value()
                guard cursor.next() else { return }
                if key.is("data") {
                    let isList = cursor.isList
                    let items = cursor.leaves(capacity: leaves)
                    (data, hasData) = (isList ? items : nil, true)
                    continue
                }
                let value = cursor.value()
                if key.is("name") { name = value }
                if key.is("shape") { shape = value }
                if key.is("datatype") { datatype = value }
                if key.is("parameters") { parameters = value }
            }
        }
    }

    /// Reads one of a request's `inputs`.
    ///
    /// - Parameters:
    ///   - cursor: where the input begins; it is passed.
    ///   - number: of the input.
    ///   - fields: what the model has.
    ///   - binary: what is left of the data behind the JSON; the tensor's own is taken from it.
    init(_ cursor: inout JSONCursor, number: Int, fields: InputFields, binary: inout UnsafeRawBufferPointer) throws {
        let members = Members(&cursor, leaves: Self.leavesExpected)
        guard let text = members.name, text.isString else { throw ServingError("an input has no `name`") }
        guard let fieldNumber = fields.number(text, guess: number) else {
            let known = fields.all.map(\.name).sorted().joined(separator: ", ")
            throw ServingError("input \(text.string ?? text.text) is no field that a feature of the model reads; there are \(known)")
        }
        let field = fields.all[fieldNumber]
        let name = field.name
        guard let datatype = members.datatype.flatMap(Datatype.init) else {
            throw ServingError("input \(name): `datatype` is none of \(Datatype.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard let sizes = members.shape, sizes.isArray else { throw ServingError("input \(name) has no `shape`; it is [instances]") }
        // So that no product of sizes overflows.
        let items = sizes.items
        let shape = items.compactMap(\.integer).filter { (0...Int(Int32.max)).contains($0) }
        let width = shape.dropFirst().reduce(1) { $0.multipliedReportingOverflow(by: $1).partialValue }
        let wanted = if case .dense(let size) = field.form { size } else { 1 }
        guard shape.count == items.count, (1...2).contains(shape.count), width == wanted else {
            let right = if case .dense(let size) = field.form { "[instances, \(size)]" } else { "[instances] or [instances, 1]" }
            throw ServingError("input \(name) has the shape \(sizes.text); it must be \(right)")
        }
        if field.form == .json, datatype != .bytes { throw ServingError("input \(name): `datatype` must be BYTES, each element the field's value as JSON text") }
        let count = shape[0] * width

        if let size = members.parameters?["binary_data_size"] {
            guard let size = size.integer, size >= 0, size <= binary.count, !members.hasData else {
                throw ServingError("input \(name): `binary_data_size` must be the bytes of its data behind the JSON, which has \(binary.count) left, and it has no `data`")
            }
            let data = UnsafeRawBufferPointer(rebasing: binary[..<size])
            binary = UnsafeRawBufferPointer(rebasing: binary[size...])
            elements = datatype == .bytes ? .texts(try Self.texts(data, count, name)) : .binary(data)
            guard datatype == .bytes || size == count * datatype.byteCount else {
                throw ServingError("input \(name) has \(size) bytes of data; \(count) elements of \(datatype.rawValue) have \(count * datatype.byteCount)")
            }
        } else {
            guard let data = members.data else { throw ServingError("input \(name) has no list `data`") }
            guard data.count == count else { throw ServingError("input \(name) has \(data.count) elements of data; its shape says \(count)") }
            elements = .json(data)
        }
        self.field = field
        self.fieldNumber = fieldNumber
        self.count = shape[0]
        self.datatype = datatype
        self.width = width
        key = fields.keys[fieldNumber]
    }

    private static func texts(_ data: UnsafeRawBufferPointer, _ count: Int, _ name: String) throws -> [UnsafeRawBufferPointer] {
        var texts: [UnsafeRawBufferPointer] = []
        var rest = data
        while texts.count < count, rest.count >= 4 {
            let length = Int(UInt32(littleEndian: rest.loadUnaligned(as: UInt32.self)))
            guard length <= rest.count - 4 else { break }
            texts.append(UnsafeRawBufferPointer(rebasing: rest[4..<4 + length]))
            rest = UnsafeRawBufferPointer(rebasing: rest[(4 + length)...])
        }
        guard texts.count == count, rest.isEmpty else {
            throw ServingError("input \(name): its binary data are not \(count) elements, each behind its length in four bytes")
        }
        return texts
    }

    // MARK: Instances

    /// Appends the field of one instance as a member of an object: `"price":3.5`.
    func append(instance: Int, to json: inout [UInt8]) throws {
        json += key
        guard case .dense = field.form else { return try append(element: instance, to: &json) }
        json.append(UInt8(ascii: "["))
        for position in 0..<width {
            if position > 0 { json.append(UInt8(ascii: ",")) }
            try append(element: instance * width + position, to: &json)
        }
        json.append(UInt8(ascii: "]"))
    }

    private func append(element: Int, to json: inout [UInt8]) throws {
        switch elements {
        case .json(let leaves):
            let leaf = leaves[element]
            guard !leaf.isNull else { return json += "null".utf8 }
            guard fits(leaf) else { throw ServingError("input \(field.name), element \(element): \(leaf.text.prefix(80)) is not \(datatype.rawValue)") }
            if field.form == .json { try append(json: Array((leaf.string ?? "").utf8), element, to: &json) } else { json += leaf.bytes }
        case .texts(let texts):
            if field.form == .json { try append(json: Array(texts[element]), element, to: &json) } else { Self.append(text: texts[element], to: &json) }
        case .binary(let data):
            guard let number = number(data, element) else {
                throw ServingError("input \(field.name), element \(element) is not finite; NaN is absent, infinity is nothing that a feature can have")
            }
            json += number.utf8
        }
    }

    private func fits(_ leaf: JSONText) -> Bool {
        switch datatype {
        case .bytes: leaf.isString
        case .bool: leaf.boolean != nil
        case .fp16, .bf16, .fp32, .fp64: leaf.isNumber
        default: leaf.isInteger
        }
    }

    /// A number, or what a boolean is, as JSON has it: the shortest text that reads back to the same. Nil if it is infinite.
    private func number(_ data: UnsafeRawBufferPointer, _ element: Int) -> String? {
        func load<Number: BitwiseCopyable>(_: Number.Type) -> Number { data.loadUnaligned(fromByteOffset: element * datatype.byteCount, as: Number.self) }
        func finite(_ number: Double) -> String? { number.isNaN ? "null" : number.isFinite ? number.description : nil }
        return switch datatype {
        case .bool: load(UInt8.self) == 0 ? "false" : "true"
        case .uint8, .bytes: load(UInt8.self).description
        case .uint16: load(UInt16.self).littleEndian.description
        case .uint32: load(UInt32.self).littleEndian.description
        case .uint64: load(UInt64.self).littleEndian.description
        case .int8: load(Int8.self).description
        case .int16: load(Int16.self).littleEndian.description
        case .int32: load(Int32.self).littleEndian.description
        case .int64: load(Int64.self).littleEndian.description
        case .fp16: finite(Double(Float16(bitPattern: load(UInt16.self).littleEndian)))
        case .bf16: finite(Double(Float(bitPattern: UInt32(load(UInt16.self).littleEndian) << 16)))
        case .fp32: finite(Double(Float(bitPattern: load(UInt32.self).littleEndian)))
        case .fp64: finite(Double(bitPattern: load(UInt64.self).littleEndian))
        }
    }

    /// A text as a JSON string; whether it is UTF-8 is seen when it is read.
    private static func append(text: UnsafeRawBufferPointer, to json: inout [UInt8]) {
        json.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): json += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: json += "\\u00\(byte < 0x10 ? "0" : "")\(String(byte, radix: 16))".utf8
            default: json.append(byte)
            }
        }
        json.append(UInt8(ascii: "\""))
    }

    /// A set or a map, which must be one JSON value: it could otherwise bring other fields with it.
    private func append(json value: [UInt8], _ element: Int, to json: inout [UInt8]) throws {
        guard (try? JSONSerialization.jsonObject(with: Data(value), options: .fragmentsAllowed)) != nil else {
            throw ServingError("input \(field.name), element \(element) is not JSON text")
        }
        json += value
    }
}
