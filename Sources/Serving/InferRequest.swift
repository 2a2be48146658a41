// Inference in the Open Inference Protocol (V2) over HTTP/JSON, with the extension for binary tensors:
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension
//
// A request's tensors are turned into the instances that the V1 protocol would have, and go the same way from there: so both protocols give the same bits.

import Model
import Records

/// A request for inference, checked but for its values. Valid as long as its bytes are.
struct InferRequest {
    /// The name of the one output.
    static let output = "prediction"
    /// The header with the length of the JSON that binary data follow, of requests and answers.
    static let headerLength = "Inference-Header-Content-Length"

    /// The client's name for the request, as JSON.
    let id: JSONText?
    let isOutputBinary: Bool
    private let tensors: [Tensor]
    private let count: Int

    /// - Parameters:
    ///   - body: of the whole request.
    ///   - jsonLength: where binary data begin; nil if there are none.
    ///   - fields: what the model has.
    /// - Throws: `ServingError` or `RecordsError` that tells the client what is wrong with the request.
    init(_ body: UnsafeRawBufferPointer, jsonLength: Int?, fields: InputFields) throws {
        let jsonLength = jsonLength ?? body.count
        guard (0...body.count).contains(jsonLength) else {
            throw ServingError("\(Self.headerLength) is \(jsonLength), but the body has \(body.count) bytes")
        }
        let json = UnsafeRawBufferPointer(rebasing: body[..<jsonLength])
        var binary = UnsafeRawBufferPointer(rebasing: body[jsonLength...])
        // Checks all of it; from here on its parts are found where they stand.
        let inputs = try splitItems(
            of: "inputs", in: json, example: #"{"inputs": [{"name": "field", "shape": [1], "datatype": "BYTES", "data": [value]}, ...]}"#,
            maximum: EventDecoder.fieldsMaximum
        ) { _ in }
        var tensors: [Tensor] = []
        tensors.reserveCapacity(inputs)
        var (id, outputs, parameters): (JSONText?, JSONText?, JSONText?)
        var cursor = JSONCursor(json)
        guard cursor.next(), cursor.enter("{") else { throw ServingError("the request is not an object") }
        while cursor.next() {
            let key = cursor.value()
            guard cursor.next() else { break }
            if key.is("inputs"), cursor.enter("[") {
                while cursor.next() { tensors.append(try Tensor(&cursor, number: tensors.count, fields: fields, binary: &binary)) }
                continue
            }
            let value = cursor.value()
            if key.is("id") { id = value }
            if key.is("outputs") { outputs = value }
            if key.is("parameters") { parameters = value }
        }
        guard binary.isEmpty else { throw ServingError("\(binary.count) bytes of data are behind the last input's") }
        var isThere = [Bool](repeating: false, count: fields.all.count)
        for tensor in tensors {
            guard !isThere[tensor.fieldNumber] else { throw ServingError("input \(tensor.field.name) is there twice") }
            isThere[tensor.fieldNumber] = true
        }
        let count = tensors.first?.count ?? 0
        if let other = tensors.first(where: { $0.count != count }) {
            throw ServingError("input \(other.field.name) has \(other.count) instances, \(tensors[0].field.name) has \(count)")
        }
        guard (1...Predictor.instancesMax).contains(count) else {
            throw ServingError("the tensors have \(count) instances; there must be 1 to \(Predictor.instancesMax): send several requests")
        }

        self.tensors = tensors
        self.count = count
        self.id = id
        if let id, !id.isString { throw ServingError("`id` must be a string") }
        let wanted = outputs?.items ?? []
        for output in wanted where output["name"]?.string != Self.output {
            throw ServingError("there is no output \(output["name"]?.string ?? "without a name"); there is \(Self.output)")
        }
        isOutputBinary = wanted.first?["parameters"]?["binary_data"]?.boolean ?? parameters?["binary_data_output"]?.boolean ?? false
    }

    /// Calls `body` with each instance as a JSON object, in order. The bytes are valid only until it returns.
    func eachInstance(_ body: (UnsafeRawBufferPointer) -> Void) throws {
        var json: [UInt8] = []
        for instance in 0..<count {
            json.removeAll(keepingCapacity: true)
            json.append(UInt8(ascii: "{"))
            for index in tensors.indices {
                if index > 0 { json.append(UInt8(ascii: ",")) }
                try tensors[index].append(instance: instance, to: &json)
            }
            json.append(UInt8(ascii: "}"))
            json.withUnsafeBytes(body)
        }
    }

    /// The answer's body, and how much of it is JSON if binary data follow.
    func answer(_ predictions: [[Double]], outputs: Int, model: String, version: UInt64) -> (body: [UInt8], jsonLength: Int?) {
        let id = id.map { ",\"id\":\($0.text)" } ?? ""
        let shape = outputs == 1 ? "\(predictions.count)" : "\(predictions.count),\(outputs)"
        var json = "{\"model_name\":\(jsonString(model)),\"model_version\":\"\(version)\"\(id),\"outputs\":["
        json += "{\"name\":\"\(Self.output)\",\"datatype\":\"\(Tensor.Datatype.fp64.rawValue)\",\"shape\":[\(shape)],"
        let numbers = predictions.joined()
        guard isOutputBinary else {
            json += "\"data\":[\(numbers.map(\.description).joined(separator: ","))]}]}"
            return (Array(json.utf8), nil)
        }
        json += "\"parameters\":{\"binary_data_size\":\(numbers.count * Tensor.Datatype.fp64.byteCount)}}]}"
        var body = Array(json.utf8)
        let jsonLength = body.count
        for number in numbers { withUnsafeBytes(of: number.bitPattern.littleEndian) { body += $0 } }
        return (body, jsonLength)
    }
}
