import Glibc

/// A flat, zeroed, cache-line aligned array for weights. Large ones ask for huge pages: a hashed table is accessed at random, and
/// the address translation costs more than the line itself. All of it is touched at once, so that no page fault comes while learning.
///
/// `@unchecked Sendable`: it is plain memory; who owns the table (one learner, or one node's writer) is the only one to write,
/// and readers get it only when nobody writes any more.
public final class Table<Element: BitwiseCopyable>: @unchecked Sendable {
    public let pointer: UnsafeMutablePointer<Element>
    public let count: Int

    /// `Element` must be a type for which all zero bytes are a valid value: numbers and structs of numbers.
    public init(count: Int) {
        self.count = count
        let size = max(count * MemoryLayout<Element>.stride, 1)
        let hugePage = 2 << 20
        let alignment = size >= hugePage ? hugePage : 64
        let rounded = (size + alignment - 1) / alignment * alignment
        let memory = UnsafeMutableRawPointer.allocate(byteCount: rounded, alignment: alignment)
        if alignment == hugePage { madvise(memory, rounded, MADV_HUGEPAGE) }
        memset(memory, 0, rounded)
        pointer = memory.bindMemory(to: Element.self, capacity: count)
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }

    public var byteCount: Int { count * MemoryLayout<Element>.stride }
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: byteCount) }
    public var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: pointer, count: byteCount) }
}
