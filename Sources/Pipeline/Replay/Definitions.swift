// The definitions by which a lineage was learned: the file as it is now, and the texts of earlier ones from the history.

import Foundation

final class Definitions {
    private let current: PipelineDefinition
    private let store: any Ledger
    private var found: [String: PipelineDefinition]

    init(_ current: PipelineDefinition, _ store: any Ledger) {
        self.current = current
        self.store = store
        found = [current.learningHash: current]
    }

    /// - Throws: `ReplayError` when the text is not there, or does not give that hash any more.
    func definition(_ learningHash: String) throws -> PipelineDefinition {
        if let definition = found[learningHash] { return definition }
        let name = "the definition \(learningHash.prefix(12)) of \(current.name)"
        guard let text = try store.definition(learningHash) else {
            throw ReplayError("\(name) is not in the history: what was learned by it cannot be replayed")
        }
        let definition: PipelineDefinition
        do {
            definition = try PipelineDefinition.parse(text.source, file: current.file, bundledSchemas: Bundled.schemas, schema: text.schema)
        } catch {
            throw ReplayError("\(name) cannot be read any more: \(error)")
        }
        guard definition.learningHash == learningHash else {
            throw ReplayError(
                "\(name) gives \(definition.learningHash.prefix(12)) now: environment variables that its features, label, model, learn or monitor "
                    + "name\(text.schema == nil ? ", or its schema's file," : "") are not what they were; set them as they were then")
        }
        found[learningHash] = definition
        return definition
    }
}
