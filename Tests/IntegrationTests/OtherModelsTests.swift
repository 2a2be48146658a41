import Foundation
import Serving
import TestSupport
import Testing

extension Integration {
    /// Models that are not a plain binary one go the same way, and come out as the same bits.
    @Suite struct OtherModels {
        struct Variant: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let replacing: [String: String]
            /// Numbers in a prediction.
            let outputs: Int
        }

        static let variants = [
            Variant(
                testDescription: "softmax over strings, accumulated",
                replacing: [
                    "label: {field: clicked, kind: binary}": "label: {field: device, kind: category, classes: [phone, desktop, tablet]}",
                    "  - {field: device, kind: categorical}\n": "", "  - cross: [device, slot]\n": "",
                    "learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}": "learn: {loss: softmax, optimizer: {kind: adagrad, rate: 0.1}, accumulate: 7}",
                ], outputs: 3),
            Variant(
                testDescription: "counts, coin betting, halves",
                replacing: [
                    "label: {field: clicked, kind: binary}": "label: {field: position, kind: count}", "  - {field: position, kind: numeric, scale: standard}\n": "",
                    "learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}": "learn: {optimizer: coin}", "weights: int8": "weights: fp16",
                ], outputs: 1),
            Variant(
                testDescription: "auto, four bits rounded stochastically",
                replacing: [
                    "learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}": "learn: {optimizer: auto}",
                    "weights: int8": "weights: int4, rounding: stochastic",
                ], outputs: 1),
        ]

        /// Protects: killed in the middle and started again, the learner ends at `evaluate`'s image; the node serves it and answers in the loss's form.
        @Test(arguments: variants)
        func killedLearnedServedVerified(_ variant: Variant) async throws {
            let often = ["{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "bits: 20": "bits: 14", "snapshot: {seconds: 60}": "snapshot: {seconds: 1}"]
            try await Loop.with(.clicks, replacing: often.merging(variant.replacing) { $1 }) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let text = try await loop.freshet("generate", "clicks", "--events", "12000", "--seed", "5")
                try text.write(toFile: file, atomically: true, encoding: .utf8)
                let expected = try await loop.json("evaluate", loop.file, file)
                let hash = try #require(expected["image_hash"].string)
                let node = try await loop.node("n1")
                let first = try loop.learner()
                let feed = try loop.start("feed", loop.file, file, "--rate", "6000")
                try await loop.untilRecorded(4000, by: first)
                first.kill()
                let second = try loop.learner()
                #expect(try await feed.wait() == 0)
                try await loop.untilRecorded(12_000, by: second)
                #expect(try await loop.json("show", loop.file)["image_hash"].string == hash)

                let client = NodeClient(port: node.port)
                try await until("the node serves it", state: { node.process.standardError }) {
                    try JSON(try await client.get("/v1/models/clicks").text)["image_hash"].string == hash
                }
                let event = try #require(text.split(separator: "\n").first)
                let answer = try await client.predict("clicks", Array("{\"instances\":[\(event)]}".utf8))
                await client.close()
                struct Numbers: Decodable { var predictions: [Double] }
                struct Lists: Decodable { var predictions: [[Double]] }
                let body = Data(answer.body)
                let prediction = variant.outputs == 1
                    ? try JSONDecoder().decode(Numbers.self, from: body).predictions : try #require(JSONDecoder().decode(Lists.self, from: body).predictions.first)
                #expect(prediction.count == variant.outputs && prediction.allSatisfy { $0 > 0 && $0.isFinite })
                if variant.outputs > 1 { #expect((prediction.reduce(0, +) - 1).magnitude < 1e-9) }
                #expect(try await second.terminate() == 0)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: a model that runs away ends its learner, with a word for its owner, and none of its versions reaches a node.
        @Test func aDivergingPipelineStopsUnpublished() async throws {
            try await Loop.with(.clicks, replacing: [
                "label: {field: clicked, kind: binary}": "label: {field: price, kind: number}", "  - {field: price, kind: numeric, scale: standard}\n": "",
                "learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}": "learn: {loss: squared, optimizer: {kind: sgd, rate: 0.5}}",
                "{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.5}", "bits: 20": "bits: 14",
            ]) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                try await loop.freshet("generate", "clicks", "--events", "6000", "--seed", "6").write(toFile: file, atomically: true, encoding: .utf8)
                try await loop.freshet("feed", loop.file, file)
                let learner = try loop.learner()
                #expect(try await learner.wait(timeout: .seconds(60)) == 1)
                #expect(learner.standardError.contains("pipeline clicks diverges"), "\(learner.standardError)")
                let versions = try await loop.json("log", loop.file)["versions"].array
                #expect(versions.allSatisfy { $0["publication"].int == nil })
            }
        }
    }
}
