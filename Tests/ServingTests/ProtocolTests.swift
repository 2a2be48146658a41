import Foundation
import Model
import Records
import Serving
import TestSupport
import Testing

/// A plan with a field of every kind, and crosses of all that can be crossed; `device` is read by a cross only.
let richPlan: EventPlan = {
    do { return try richPlan(label: .binary) } catch { preconditionFailure("\(error)") }
}()

func richPlan(label: LabelKind) throws -> EventPlan {
    try EventPlan(
        features: [
            .categorical("site"), .numeric("price", scale: .standard), .numeric("größe", scale: .log), .buckets("hour", edges: [6, 12, 18]),
            .text("title", words: 1...2, characters: 3...3), .dense("emb", size: 5), .set("tags"), .weightedMap("scores"),
            .cross(["site", "hour"]), .cross(["device", "größe"]), .cross(["price", "site"]),
        ], label: ("y", label), bits: 12)
}

extension ImageLayout {
    init(_ plan: EventPlan, weights: WeightKind = .int8, outputs: Int = 1, mixtureCount: Int = 0) {
        self.init(
            bits: plan.bits, weights: weights, outputs: outputs, scaledCount: plan.scaledNames.count, dense: plan.denseFields.map(\.size),
            mixtureCount: mixtureCount)
    }
}

/// Two events of `richPlan` and what they are as tensors.
enum RichEvents {
    static let instances = [
        #"{"site":"s1","price":3.5,"größe":25e-2,"hour":13,"title":"Big \"quoted\" news","emb":[0.1,-2,3e-1,0.25,0.7],"tags":["a",7,true,"a"],"scores":{"k":0.5,"l":-2},"device":9007199254740993123}"#,
        #"{"site":7,"price":0.1,"hour":-1,"title":"näïve","emb":[0,1,0.2,0,1],"tags":[],"scores":{},"device":"d\\\u00e9"}"#,
    ]
    static let tensors = [
        tensor("site", "BYTES", #"["s1","7"]"#), tensor("price", "FP64", "[[3.5],\n [0.1]]", shape: "[2,1]"), tensor(#"gr\u00f6\u00dfe"#, "FP64", "[25e-2,null]"),
        tensor("hour", "INT32", "[13,-1]"), tensor("title", "BYTES", #"["Big \"quoted\" news" , "näïve"]"#),
        tensor("emb", "FP32", "[[0.1,-2,3e-1,0.25,0.7],[0,1,0.2,0,1]]", shape: "[2,5]"),
        tensor("tags", "BYTES", #"["[\"a\",7,true,\"a\"]","[]"]"#), tensor("scores", "BYTES", #"["{\"k\":0.5,\"l\":-2}","{}"]"#),
        tensor("device", "BYTES", #"["9007199254740993123","d\\\u00e9"]"#),
    ]

    static func tensor(_ name: String, _ datatype: String, _ data: String, shape: String = "[2]") -> String {
        #"{"name":"\#(name)","shape":\#(shape),"datatype":"\#(datatype)","data":\#(data)}"#
    }
}

struct InferAnswer: Decodable {
    struct Output: Decodable {
        let name: String
        let datatype: String
        let shape: [Int]
        let data: [Double]
    }
    let model_name: String
    let model_version: String
    let id: String?
    let outputs: [Output]
}

/// A node that serves `richPlan` from one publication.
func withRichNode(
    plan: EventPlan = richPlan, layout: ImageLayout? = nil, link: Link = .logistic, _ body: (TestLearner, NodeClient) async throws -> Void
) async throws {
    let layout = layout ?? ImageLayout(plan)
    var kafka = try TestKafka()
    defer { kafka.close() }
    let learner = TestLearner(layout: layout)
    for _ in 0..<60 { _ = learner.patch() }
    try kafka.send(learner.whole())
    try await withNode([kafka.model(plan: plan, layout: layout, link: link)]) { node, client in
        try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
        try await body(learner, client)
    }
}

/// The protocols that clients bring.
@Suite struct ProtocolTests {
    private struct Predictions<Prediction: Decodable>: Decodable { let predictions: [Prediction] }

    private func predictions<Prediction: Decodable>(_ client: NodeClient, _ instances: [String], as _: Prediction.Type = Double.self) async throws -> [Prediction] {
        let answer = try await client.predict("clicks", Array("{\"instances\":[\(instances.joined(separator: ","))]}".utf8))
        #expect(answer.status == 200, "\(answer.text)")
        return try JSONDecoder().decode(Predictions<Prediction>.self, from: Data(answer.body)).predictions
    }

    private func infer(_ client: NodeClient, _ tensors: [String], rest: String = "", path: String = "") async throws -> InferAnswer {
        let answer = try await client.post("/v2/models/clicks\(path)/infer", Array("{\"inputs\":[\(tensors.joined(separator: ","))]\(rest)}".utf8))
        #expect(answer.status == 200, "\(answer.text)")
        return try JSONDecoder().decode(InferAnswer.self, from: Data(answer.body))
    }

    /// Protects: a client of V2 gets the bits that one of V1 gets, whatever the kind of the field and however the tensor is written.
    @Test func sameBits() async throws {
        try await withRichNode { learner, client in
            let expected = try await predictions(client, RichEvents.instances)
            #expect(Set(expected).count == 2)
            let answer = try await infer(client, RichEvents.tensors, rest: #","id":"a\"b","outputs":[{"name":"prediction"}]"#)
            #expect(answer.outputs.map(\.data) == [expected])
            #expect(answer.outputs[0].name == "prediction" && answer.outputs[0].datatype == "FP64" && answer.outputs[0].shape == [2])
            #expect(answer.model_name == "clicks" && answer.model_version == String(learner.version) && answer.id == "a\"b")
            // Each tensor counts, and one that is missing is an absent field.
            for (index, name) in ["site", "price", "größe", "hour", "title", "emb", "tags", "scores"].enumerated() {
                var object = try #require(JSONSerialization.jsonObject(with: Data(RichEvents.instances[0].utf8)) as? [String: Any])
                object[name] = nil
                var fewer = RichEvents.tensors
                fewer.remove(at: index)
                let without = try await infer(client, fewer).outputs[0].data[0]
                let instance = String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
                // The large number does not survive Foundation, but its text is in no feature without `größe`.
                if name == "größe" { #expect(try await predictions(client, [instance]) == [without]) }
                #expect(without != expected[0], "\(name)")
            }
        }
    }

    /// Protects: categories' probabilities keep their order and shape.
    @Test func categories() async throws {
        let plan = try richPlan(label: .category(classes: ["a", "b", "c"]))
        try await withRichNode(plan: plan, layout: ImageLayout(plan, outputs: 3), link: .softmax) { _, client in
            let expected = try await predictions(client, RichEvents.instances, as: [Double].self)
            let output = try await infer(client, RichEvents.tensors).outputs[0]
            #expect(output.shape == [2, 3] && output.data == expected.flatMap { $0 })
            #expect(try await client.get("/v2/models/clicks").text.contains(#""outputs":[{"name":"prediction","datatype":"FP64","shape":[-1,3]}]"#))
        }
    }

    /// Protects: binary data of every datatype is the number that the same JSON would be, NaN is absent, and the answer's bytes are the same bits.
    @Test func binaryData() async throws {
        func bytes<Number: BitwiseCopyable>(_ numbers: [Number]) -> [UInt8] { numbers.withUnsafeBytes { Array($0) } }
        func texts(_ texts: [String]) -> [UInt8] { texts.flatMap { bytes([UInt32($0.utf8.count)]) + Array($0.utf8) } }
        try await withRichNode { _, client in
            func ask(_ tensors: [(name: String, datatype: String, data: [UInt8])], parameters: String = "{}") async throws -> NodeClient.Answer {
                let inputs = tensors.map {
                    #"{"name":"\#($0.name)","shape":[2],"datatype":"\#($0.datatype)","parameters":{"binary_data_size":\#($0.data.count)}}"#
                }
                let json = Array(#"{"parameters":\#(parameters),"inputs":[\#(inputs.joined(separator: ","))]}"#.utf8)
                return try await client.post(
                    "/v2/models/clicks/infer", json + tensors.flatMap(\.data), headers: [("inference-header-content-length", String(json.count))])
            }
            let tricky = ["\"\\\u{1}\n/", "ü👍🏽"]
            let encoded = try tricky.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
            let cases: [(String, [UInt8], [String])] = [
                ("FP64", bytes([0.1, 1e-300]), ["0.1", "1e-300"]), ("FP64", bytes([Double.nan, -0.0]), ["null", "-0.0"]),
                ("FP32", bytes([Float(0.1), 3e38]), ["0.10000000149011612", "3e38"].map { $0 == "3e38" ? Double(Float(3e38)).description : $0 }),
                ("FP16", bytes([Float16(0.1), 65504]), ["0.0999755859375", "65504"]), ("BF16", bytes([UInt16(0x3dcd), 0xc000]), ["0.10009765625", "-2"]),
                ("INT8", bytes([Int8(-128), 7]), ["-128", "7"]), ("INT16", bytes([Int16(-300), 7]), ["-300", "7"]),
                ("INT32", bytes([Int32(-70000), 7]), ["-70000", "7"]), ("INT64", bytes([Int64(1) << 53, -1]), ["9007199254740992", "-1"]),
                ("UINT8", bytes([UInt8(200), 7]), ["200", "7"]), ("UINT16", bytes([UInt16(60000), 7]), ["60000", "7"]),
                ("UINT32", bytes([UInt32(4_000_000_000), 7]), ["4000000000", "7"]), ("UINT64", bytes([UInt64(5), 7]), ["5", "7"]),
            ]
            for (datatype, data, numbers) in cases {
                let expected = try await predictions(client, zip(encoded, numbers).map { #"{"site":\#($0),"größe":\#($1)}"# })
                let answer = try await ask([("größe", datatype, data), ("site", "BYTES", texts(tricky))])
                #expect(answer.status == 200, "\(datatype): \(answer.text)")
                #expect(try JSONDecoder().decode(InferAnswer.self, from: Data(answer.body)).outputs[0].data == expected, "\(datatype)")
            }
            let flags = try await ask([("site", "BOOL", [1, 0])], parameters: #"{"binary_data_output":true}"#)
            let expected = try await predictions(client, [#"{"site":true}"#, #"{"site":"false"}"#])
            #expect(flags.body.suffix(16) == bytes(expected)[...] && flags.text.contains(#""parameters":{"binary_data_size":16}"#))

            for (wrong, reason) in [
                ([("größe", "FP64", bytes([1.0, .infinity]))], "element 1 is not finite"), ([("größe", "FP64", bytes([1.0]))], "has 8 bytes of data"),
                ([("site", "BYTES", texts(["a"]))], "are not 2 elements"), ([("site", "BYTES", texts(["a", "b", "c"]))], "are not 2 elements"),
                ([("site", "BYTES", [255, 255, 255, 255, 1, 1, 1, 1])], "are not 2 elements"), ([("site", "BYTES", texts(["a"]) + [1, 0, 0, 0, 0xff])], "UTF-8"),
                ([("tags", "BYTES", texts(["[1],\"site\":[2]", "[]"]))], "element 0 is not JSON"),
            ] {
                let answer = try await ask(wrong)
                #expect(answer.status == 400 && answer.text.contains(reason), "\(answer.text)")
            }
        }
    }

    /// Protects: what a request of V2 gets wrong is refused with its name and the remedy, and takes nothing down.
    @Test(.timeLimit(.minutes(1))) func refusals() async throws {
        func one(_ name: String, _ datatype: String, _ data: String, _ shape: String) -> String { RichEvents.tensor(name, datatype, data, shape: shape) }
        let cases: [(String, String)] = [
            ("", "the request is empty"), ("{", "not JSON"), ("[]", "not an object"), ("{}", "no list `inputs`"), (#"{"inputs":[]}"#, "`inputs` is empty"),
            (#"{"inputs":[1]}"#, "no `name`"), (#"{"inputs":[{"name":"site"}]}"#, "`datatype` is none of"),
            (#"{"inputs":[{"name":"site","datatype":"BYTES"}]}"#, "no `shape`"),
            (#"{"inputs":[{"name":"site","datatype":"BYTES","shape":[1]}]}"#, "no list `data`"),
            (#"{"inputs":[\#(one("y", "INT64", "[1]", "[1]"))]}"#, "input y is no field"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\"]", "[2]"))]}"#, "1 elements of data; its shape says 2"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\",\"b\"]", "[1,2]"))]}"#, "must be [instances] or [instances, 1]"),
            (#"{"inputs":[\#(one("emb", "FP32", "[1]", "[1]"))]}"#, "must be [instances, 5]"),
            (#"{"inputs":[\#(one("site", "BYTES", "[]", "[4611686018427387904,4]"))]}"#, "must be [instances]"),
            (#"{"inputs":[\#(one("site", "BYTES", "[]", "[-1]"))]}"#, "must be [instances]"), (#"{"inputs":[\#(one("site", "BYTES", "[]", "[0]"))]}"#, "1 to 10000"),
            (#"{"inputs":[\#(one("site", "BYTES", "[1]", "[1]"))]}"#, "1 is not BYTES"), (#"{"inputs":[\#(one("hour", "INT8", "[1.5]", "[1]"))]}"#, "is not INT8"),
            (#"{"inputs":[\#(one("price", "FP64", "[1e999]", "[1]"))]}"#, "price: "), (#"{"inputs":[\#(one("price", "BYTES", "[\"1\"]", "[1]"))]}"#, "a number"),
            (#"{"inputs":[\#(one("tags", "FP64", "[1]", "[1]"))]}"#, "must be BYTES"), (#"{"inputs":[\#(one("tags", "BYTES", "[\"[1\"]", "[1]"))]}"#, "is not JSON"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\"]", "[1]")),\#(one("site", "BYTES", "[\"a\"]", "[1]"))]}"#, "site is there twice"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\"]", "[1]")),\#(one("hour", "INT8", "[1,2]", "[2]"))]}"#, "hour has 2 instances, site has 1"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\"]", "[1]"))],"outputs":[{"name":"x"}]}"#, "there is no output x"),
            (#"{"inputs":[\#(one("site", "BYTES", "[\"a\"]", "[1]"))],"id":7}"#, "`id` must be a string"),
            (#"{"inputs":[{"name":"site","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":9}}]}"#, "has 0 left"),
        ]
        try await withRichNode { _, client in
            for (body, reason) in cases {
                let answer = try await client.post("/v2/models/clicks/infer", Array(body.utf8))
                #expect(answer.status == 400 && answer.text.hasPrefix("{\"error\":") && answer.text.contains(reason), "\(body): \(answer.text)")
            }
            for (length, reason) in [("99", "but the body has 2 bytes"), ("-1", "but the body has 2 bytes"), ("x", "is no number")] {
                let answer = try await client.post("/v2/models/clicks/infer", Array("{}".utf8), headers: [("inference-header-content-length", length)])
                #expect(answer.status == 400 && answer.text.contains(reason), "\(answer.text)")
            }
            #expect(try await client.post("/v2/models/nobody/infer", []).status == 404)
            #expect(try await client.get("/v2/models/clicks/infer").status == 405)
            #expect(try await client.post("/v2/models/clicks/ready", []).status == 405)
            #expect(try await client.get("/v2/models/clicks/versions").status == 404)
            #expect(try await client.get("/v2/models/clicks/other").status == 404)
        }
    }

    /// Protects: requests damaged in any way are answered or refused, and the next one is answered as ever.
    @Test(.timeLimit(.minutes(2))) func damagedRequests() async throws {
        try await withRichNode { _, client in
            let whole = Array("{\"id\":\"1\",\"outputs\":[{\"name\":\"prediction\"}],\"inputs\":[\(RichEvents.tensors.joined(separator: ","))]}".utf8)
            let data: [UInt8] = [1, 0, 0, 0, 97, 2, 0, 0, 0, 98, 99]
            let json = Array(#"{"inputs":[{"name":"site","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}}]}"#.utf8)
            let expected = try await client.post("/v2/models/clicks/infer", whole).text
            let pieces = ["\"", "\\", "[", "]", "{", "}", ",", ":", "null", "1e9", "4294967296", "-1"].map { Array($0.utf8) }
            var random = SeededGenerator(3)
            var codes: Set<Int> = []
            for _ in 0..<3000 {
                codes.insert(try await client.post("/v2/models/clicks/infer", random.mutated(whole, pieces: pieces)).status)
                let body = random.mutated(json, pieces: pieces) + random.mutated(data)
                let length = Bool.random(using: &random) ? json.count : Int.random(in: -1...body.count + 1, using: &random)
                codes.insert(
                    try await client.post("/v2/models/clicks/infer", body, headers: [("inference-header-content-length", String(length))]).status)
            }
            #expect(codes == [200, 400])
            #expect(try await client.post("/v2/models/clicks/infer", whole).text == expected)
        }
    }

    /// Protects: a path with a version is answered by that version or not at all, in both protocols.
    @Test func versions() async throws {
        try await withRichNode { learner, client in
            let instances = Array("{\"instances\":[{}]}".utf8)
            let tensors = [RichEvents.tensor("site", "BYTES", #"["a","b"]"#)]
            for version in ["stable", String(learner.version)] {
                let answer = try await client.post("/v1/models/clicks/versions/\(version):predict", instances)
                #expect(answer.status == 200 && answer.version == learner.version)
                #expect(try await client.post("/v1/models/clicks/versions/\(version):explain", instances).status == 200)
                #expect(try await infer(client, tensors, path: "/versions/\(version)").model_version == String(learner.version))
                for path in ["/v1/models/clicks/versions/\(version)", "/v2/models/clicks/versions/\(version)", "/v2/models/clicks/versions/\(version)/ready"] {
                    #expect(try await client.get(path).status == 200, "\(path)")
                }
            }
            let reason = "version 599 of model clicks is not served; version 600 is"
            for path in ["/v1/models/clicks/versions/599:predict", "/v1/models/clicks/versions/599:explain", "/v2/models/clicks/versions/599/infer"] {
                let answer = try await client.post(path, instances)
                #expect(answer.status == 404 && answer.text.contains(reason), "\(path): \(answer.text)")
            }
            for path in ["/v1/models/clicks/versions/599", "/v2/models/clicks/versions/599", "/v2/models/clicks/versions/599/ready"] {
                let answer = try await client.get(path)
                #expect(answer.status == 404 && answer.text.contains(reason), "\(path): \(answer.text)")
            }
            #expect(try await client.get("/v2").text.contains(#""extensions":["binary_tensor_data"]"#))
            #expect(try await client.get("/v2/health/live").text == #"{"live":true}"#)
            #expect(try await client.get("/v2/health/ready").text == #"{"ready":true}"#)
            #expect(try await client.get("/v2/models/clicks/ready").text == #"{"name":"clicks","ready":true}"#)
            let metadata = try await client.get("/v2/models/clicks").text
            #expect(metadata.contains(#""versions":["600"]"#) && metadata.contains(#"{"name":"emb","datatype":"FP32","shape":[-1,5]}"#))
            #expect(metadata.contains(#"{"name":"tags","datatype":"BYTES","shape":[-1],"parameters":{"content_type":"json"}}"#))
            #expect(metadata.contains(#"{"name":"device","datatype":"BYTES","shape":[-1]}"#))
        }
    }

    /// Protects: a client that nobody here wrote finds its way, with tensors as binary data and as JSON, and gets V1's bits.
    @Test(.enabled(if: TestTools.tritonPython != nil, "needs tritonclient[http]: make peers"))
    func realClient() async throws {
        let python = try #require(TestTools.tritonPython)
        try await withRichNode { _, client in
            let folder = FileManager.default.temporaryDirectory.appending(path: "triton-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "v2_client.py").path
            let child = try ChildProcess(python, [script, String(client.port)], folder: folder)
            #expect(try await child.wait() == 0, "\(child.standardError)")
            #expect(child.standardOutput == "8 answers, all as V1's\n")
        }
    }
}
