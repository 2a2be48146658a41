// A file system in memory, of a few megabytes, for a disk that is full.

import Foundation

public struct SmallDisk: Sendable {
    /// An empty folder on it.
    public let folder: String
    private let mountPoint: String

    /// Whether this process may mount file systems.
    public static let isPossible: Bool = {
        guard geteuid() == 0, let disk = try? SmallDisk(megabytes: 1) else { return false }
        disk.remove()
        return true
    }()

    public static func with(
        megabytes: Int, isolation: isolated (any Actor)? = #isolation, _ body: (SmallDisk) async throws -> Void
    ) async throws {
        let disk = try SmallDisk(megabytes: megabytes)
        defer { disk.remove() }
        try await body(disk)
    }

    private init(megabytes: Int) throws {
        mountPoint = "/tmp/freshet-disk-\(UUID().uuidString.prefix(8))"
        folder = mountPoint + "/data"
        try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: true)
        guard mount("tmpfs", mountPoint, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
            rmdir(mountPoint)
            throw TestFailure("mounting a file system of \(megabytes) MB: \(String(cString: strerror(errno)))")
        }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// Takes all the room there is.
    public func fill() throws {
        let descriptor = open(mountPoint + "/filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw TestFailure("filling \(mountPoint): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        for size in [1 << 20, 4096] {
            let block = [UInt8](repeating: 0, count: size)
            while write(descriptor, block, size) == size {}
        }
    }

    /// Gives the room back.
    public func free() throws { try FileManager.default.removeItem(atPath: mountPoint + "/filler") }

    private func remove() {
        umount2(mountPoint, Int32(MNT_DETACH))
        rmdir(mountPoint)
    }
}
