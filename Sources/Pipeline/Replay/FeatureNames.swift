// Names of weights. A hashed feature's index says nothing; its name is in the events that have it. So names are collected while events are read
// again, bounded, and a weight whose name was not met is shown by its index. Two names may share an index: the first one met stands for it.

import Foundation
import Model
import Records

/// A bounded dictionary of indices to names. Used by one thread.
package final class FeatureNames {
    /// What a name takes is some hundred bytes.
    static let namesMaximum = 1 << 20

    private let plan: EventPlan
    private let layout: ImageLayout
    private let decoder: EventDecoder
    private let scratch = ExampleBatch()
    private var names: [UInt32: String] = [:]
    /// One bit a hashed feature: an event that has nothing new is not named.
    private var isKnown: [UInt64]

    package init(_ definition: PipelineDefinition) {
        plan = definition.plan
        layout = definition.layout
        decoder = EventDecoder(plan)
        isKnown = [UInt64](repeating: 0, count: (1 << plan.bits) / 64 + 1)
    }

    /// Takes the names of a batch's learned events.
    func add(_ batch: SourceBatch) {
        for (index, example) in batch.examples.examples.enumerated() where example.refusal < 0 {
            guard names.count < Self.namesMaximum else { return }
            let features = batch.examples.features[Int(example.featuresStart)..<Int(example.featuresStart + example.featuresCount)]
            guard features.contains(where: { !knows($0.index) }), let value = batch.value(index) else { continue }
            add(value)
        }
    }

    /// Takes an event's names.
    package func add(_ value: some Collection<UInt8>) {
        for (index, name) in Self.names(in: value, decoder, scratch) where !knows(index) {
            isKnown[Int(index) / 64] |= 1 << UInt64(index % 64)
            names[index] = name
        }
    }

    private func knows(_ index: UInt32) -> Bool { isKnown[Int(index) / 64] >> UInt64(index % 64) & 1 == 1 }

    /// What a feature is called; nil where no event had it. A value of a dense vector is `field[3]`.
    package func name(_ feature: Int) -> String? {
        if feature < 1 << plan.bits { return names[UInt32(feature)] }
        for (field, start) in zip(plan.denseFields, layout.denseStarts) where (start..<start + field.size).contains(feature) {
            return "\(field.name)[\(feature - start)]"
        }
        return nil
    }

    /// The hashed features of an event; none of one that is refused.
    private static func names(in value: some Collection<UInt8>, _ decoder: EventDecoder, _ scratch: ExampleBatch) -> [(UInt32, String)] {
        scratch.removeAll()
        Array(value).withUnsafeBytes { decoder.decode($0, offset: 0, requireLabel: false, into: scratch) }
        guard let example = scratch.examples.first, example.refusal < 0 else { return [] }
        let features = scratch.features[Int(example.featuresStart)..<Int(example.featuresStart + example.featuresCount)]
        return Array(zip(features.map(\.index), decoder.featureNames()))
    }

    /// The index of the feature of a name, as `name` gives it, or of `index:N`.
    /// - Throws: `FeatureQuestionError` where the pipeline has no such feature.
    package static func index(of text: String, _ definition: PipelineDefinition) throws -> Int {
        let (plan, layout) = (definition.plan, definition.layout)
        if text.hasPrefix("index:") {
            guard let index = Int(text.dropFirst(6)), (0..<layout.featureCount).contains(index) else {
                throw FeatureQuestionError("\(text) is not a feature of \(definition.name), which has index:0 to index:\(layout.featureCount - 1)")
            }
            return index
        }
        if let match = text.wholeMatch(of: /(.*)\[([0-9]{1,9})\]/), let place = plan.denseFields.firstIndex(where: { $0.name == match.1 }),
            let position = Int(match.2), position < plan.denseFields[place].size
        {
            return layout.denseStarts[place] + position
        }
        // An event with nothing but that feature, decoded as any other; without the schema, which may want more fields.
        let bare = try EventPlan(features: plan.features, bits: plan.bits, seed: plan.seed)
        let decoder = EventDecoder(bare), scratch = ExampleBatch()
        // `a=1*b` is a cross where there is one, and else a value with a star in it.
        for event in [event(text.split(separator: "*"), bare), event([text[...]], bare)] {
            guard let event, let bytes = try? JSONSerialization.data(withJSONObject: event) else { continue }
            if let found = names(in: bytes, decoder, scratch).first(where: { $0.1 == text }) { return Int(found.0) }
        }
        let known = plan.features.map { feature in
            switch feature.kind {
            case .numeric: feature.name
            case .dense: "\(feature.name)[0]"
            case .cross(let fields): fields.map { "\($0)=VALUE" }.joined(separator: "*")
            case .text(_, let characters): characters == nil ? "\(feature.name)=WORD" : "\(feature.name)~TEXT"
            default: "\(feature.name)=VALUE"
            }
        }
        throw FeatureQuestionError(
            "\(definition.name) has no feature \(text); a feature is written \(EventPlan.constantName), \(known.joined(separator: ", ")), or index:N")
    }

    /// The fields that parts such as `site=a` or `price` name, with values that give those features.
    private static func event(_ parts: [Substring], _ plan: EventPlan) -> [String: Any]? {
        var event: [String: Any] = [:]
        for part in parts {
            let field = String(part.prefix { $0 != "=" && $0 != "~" })
            let value = String(part.dropFirst(field.count + 1))
            switch plan.features.first(where: { $0.name == field })?.kind {
            case .numeric: event[field] = 1
            case .buckets(let edges):
                guard let bucket = Int(value), (0...edges.count).contains(bucket) else { return nil }
                event[field] = bucket == 0 ? edges[0] - 1 : edges[bucket - 1]
            case .set: event[field] = [value]
            case .weightedMap: event[field] = [value: 1]
            case .cross, .dense: return nil
            case .categorical, .text, nil: event[field] = value
            }
        }
        return event
    }
}

/// A question about a feature that the pipeline does not have.
public struct FeatureQuestionError: Error, CustomStringConvertible, Sendable {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// A weight before and after. The JSON keys are an interface.
public struct WeightChange: Sendable, Codable, Equatable {
    /// Of `blame`: the version that moved it, and when it was recorded.
    public var version: UInt64?
    public var createdAt: String?
    /// Of `diff`: its name; absent where no event between the versions had it.
    public var feature: String?
    public var index: Int
    /// Which of several outputs: the class, or the member of a bank.
    public var output: Int?
    /// The resident weight, which serves.
    public var before: Float
    public var after: Float
    public var change: Float
    /// The FP32 master, which learns.
    public var masterBefore: Float
    public var masterAfter: Float

    enum CodingKeys: String, CodingKey {
        case version, feature, index, output, before, after, change
        case createdAt = "created_at"
        case masterBefore = "master_before"
        case masterAfter = "master_after"
    }
}
