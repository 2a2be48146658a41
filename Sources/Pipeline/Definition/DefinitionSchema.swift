// Where the file that `source.schema` names is found: beside the pipeline file, then in the folders above it as far as the current folder (or the
// root, when the pipeline lies elsewhere), then in the current folder, then inside the program. So `schemas/click.schema.json` works from a
// checkout, from a copy of one pipeline file, and from nothing but the program.

import Foundation

struct SchemaFinder {
    let pipelineFile: String
    let currentFolder: String
    let bundled: [String: [UInt8]]
    /// The schema itself, where it is known already.
    var given: [UInt8]?

    /// The schema's bytes. The error goes on after the file's name and says where was looked.
    func bytes(of path: String) throws(FileProblem) -> [UInt8] {
        if let given { return given }
        for candidate in candidates(path) where FileManager.default.fileExists(atPath: candidate) {
            return try readFile(candidate, bytesMaximum: fileBytesMaximum)
        }
        if let bytes = bundled[path] { return bytes }
        let inside = bundled.isEmpty ? "" : "; inside the program there are \(bundled.keys.sorted().joined(separator: ", "))"
        throw FileProblem("is not beside the pipeline file, in a folder above it, or in the current folder\(inside)")
    }

    private func candidates(_ path: String) -> [String] {
        if path.hasPrefix("/") { return [path] }
        let current = URL(filePath: currentFolder, directoryHint: .isDirectory).standardizedFileURL
        var folder = URL(filePath: pipelineFile, relativeTo: current).standardizedFileURL.deletingLastPathComponent()
        var folders = [folder]
        while folder.path != current.path, folder.path != "/" {
            folder = folder.deletingLastPathComponent().standardizedFileURL
            folders.append(folder)
        }
        if folder.path != current.path { folders.append(current) }
        return folders.map { $0.appending(path: path).path }
    }
}
