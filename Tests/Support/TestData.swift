import Foundation

public enum TestData {
    /// The folder of Package.swift.
    public static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// 45,312 half-hours of an electricity market (elec2); not part of the package. Tests that are about it are skipped without it.
    public static let electricity: String? = {
        let path = URL(filePath: root).appending(path: "../shared/data/elec.csv").standardized.path
        return FileManager.default.isReadableFile(atPath: path) ? path : nil
    }()

    /// The built program: what FRESHET_PROGRAM names, or what is beside the test bundle.
    public static func program() throws -> String {
        if let chosen = ProcessInfo.processInfo.environment["FRESHET_PROGRAM"] { return chosen }
        let folders = Bundle.allBundles.map(\.bundleURL) + CommandLine.arguments.map { URL(filePath: $0) }
        let candidates = folders.map { $0.deletingLastPathComponent().appending(path: "freshet").path }
            + ["\(root)/.build/release/freshet"]
        guard let found = candidates.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
            throw TestFailure("there is no program `freshet` beside the tests (\(Set(candidates).sorted())): swift build -c release --build-tests")
        }
        return found
    }
}
