// What a patch costs: its bytes beside those of the whole model, and the CPU time of the three threads that have to do with it: the learner's, which
// keeps what changes, the publisher's, which makes the messages, and a node's, which applies them.

import Foundation
import Learner
import Model
import Pipeline
import Records

/// 10,240 clicks lie between two publications.
private let batchesAPatch = 5
private let bits = 22

func measurePatches(_ bench: Workbench) throws {
    for weights in WeightKind.allCases {
        // The format that is asked about over all events, the others briefly.
        let events = weights == .int8 ? bench.events : min(bench.events, 300_000)
        let yaml = try bench.clicksPipeline(bits: bits, weights == .int8 ? [] : [("weights: int8", "weights: \(weights.rawValue)")])
        guard let definition = bench.definition(yaml) else { continue }
        let batches = try EventsInMemory(path: bench.clicks("json"), limit: events).decoded(definition)
        try measure(bench, weights, batches, definition)
        guard weights == .int8 else { continue }
        let counting = try bench.clicksPipeline(bits: bits, [("weights: int8", "weights: int8, counts: true")])
        if let counting = bench.definition(counting) { try measure(bench, weights, batches, definition, counting: counting) }
    }
}

private struct Patch {
    var bytes: Int
    var blocks: Int
    /// CPU seconds, of the learner's thread without and with publishing, of the publisher's, of a node's.
    var plain, learning, making, applying: Double
}

/// - Parameter counting: a definition that also counts features, to be measured beside the one that does not.
private func measure(
    _ bench: Workbench, _ weights: WeightKind, _ batches: [ExampleBatch], _ definition: PipelineDefinition, counting: PipelineDefinition? = nil
) throws {
    let (publishing, alone) = (try LearningAlone(counting ?? definition), try LearningAlone(definition))
    publishing.image.beginPublishing()
    publishing.counts?.beginPublishing()
    let node = publishing.image.copy()
    var base = node.seal()
    var patches: [Patch] = []
    for first in stride(from: 0, through: batches.count - batchesAPatch, by: batchesAPatch) {
        let some = Array(batches[first..<first + batchesAPatch])
        let plain = timed {
            alone.learn(some)
            alone.image.seal()
        }
        var changed: ChangedBlocks?
        var counts: GrownCounts?
        let learning = timed {
            publishing.learn(some)
            changed = publishing.image.takeUnpublished()
            counts = publishing.counts?.takeUnpublished().grown
        }
        guard let changed else { continue }
        let hash = publishing.image.seal()
        var messages: [PublicationMessage] = []
        let making = try timed {
            var publication = Publication(
                epoch: 1, sequence: UInt64(patches.count + 1), version: 1, hash: hash, meaning: 1, newestEventMilliseconds: 0,
                content: .patch(base: UInt64(patches.count), baseHash: base, changes: BlockChanges(changed), head: publishing.image.head))
            publication.counts = counts.map { PublishedCounts($0) }
            messages = try publication.messages()
        }
        var assembler = PublicationAssembler()
        var reached: ImageHash?
        let applying = try timed {
            for message in messages {
                let publication = try message.value.withUnsafeBytes { try assembler.add($0) }
                guard case .patch(_, _, let changes, let head) = publication?.content else { continue }
                reached = try node.apply(changes, head: head)
            }
        }
        guard reached == hash else { throw BenchmarkError("a patch leads to another image than the learner's") }
        base = hash
        let bytes = messages.reduce(0) { $0 + $1.value.count }
        patches.append(Patch(bytes: bytes, blocks: changed.blocks.count, plain: plain, learning: learning, making: making, applying: applying))
    }
    report(bench, weights, patches, imageBytes: node.blockBytes.count, counting: counting != nil)
}

private func report(_ bench: Workbench, _ weights: WeightKind, _ patches: [Patch], imageBytes: Int, counting: Bool) {
    let model = 4 << bits
    func row(_ what: String, _ some: ArraySlice<Patch>, goal: String = "") {
        guard !some.isEmpty else { return }
        let mean = some.reduce(0) { $0 + $1.bytes } / some.count
        func share(_ whole: Int) -> String { decimal(100 * Double(mean) / Double(whole), 2) + " %" }
        bench.row(
            "a patch at 2^\(bits) weights, \(weights), \(batchesAPatch * EventsInMemory.batchEvents) clicks, \(counting ? "with counts of features, " : "")\(what)", "\(mean) bytes",
            "FP32 model \(model) bytes, \(weights) image \(imageBytes), changed blocks whole \(some.reduce(0) { $0 + $1.blocks } / some.count * Block.byteCount)",
            "\(share(model)), \(share(imageBytes))", goal: goal)
    }
    row("mean of all \(patches.count)", patches[...], goal: weights == .int8 && !counting ? "0.4 %, 1.5 %" : "")
    guard weights == .int8 else { return }
    row("mean of the first 10", patches.prefix(10))
    row("mean of the last 10", patches.suffix(10))
    // The first ones make every scale grow from nothing.
    let settled = patches.dropFirst(patches.count / 2)
    func ms(_ value: (Patch) -> Double) -> String { decimal(median(settled.map(value)) * 1000, 2) + " ms" }
    bench.row("learning them, \(counting ? "counting features, " : "")and keeping what changes", ms { $0.learning }, "learning alone: \(ms { $0.plain })", ratio(settled.map(\.learning), settled.map(\.plain)))
    bench.row("making the patch's messages, a node applying them", "\(ms { $0.making }), \(ms { $0.applying })")
}
