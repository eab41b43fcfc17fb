import Foundation

/// Large memory that is handed on: what the keys and values of one prompt leave, those of the next take.
///
/// The system zeroes a new page when it is first touched; for 512 tokens of a 7B that takes as long as
/// their attention. Spare pages are the system's to take back when it is short of memory.
final class SpareMemory: @unchecked Sendable {
    /// Bytes of a page. Large ones are asked for: 1.5 GB of 4 KB pages take half a second to be made.
    static let page = 1 << 21
    /// What is smaller is better left to `malloc`.
    static let least = 64 * page
    static let shared = SpareMemory()

    struct Block {
        let start: UnsafeMutableRawPointer
        /// Bytes, at least those asked for.
        let size: Int
    }

    private let lock = NSLock()
    private var spare: [Block] = []
    private var used = 0
    /// The most bytes that were used at once: with what is spare there are never more.
    private var most = 0

    /// Bytes that are handed out, and that wait.
    var bytes: (used: Int, spare: Int) {
        lock.withLock { (used, spare.reduce(0) { $0 + $1.size }) }
    }

    deinit {
        spare.forEach { free($0.start) }
    }

    /// At least `size` bytes, whatever is in them, or nil where there is no room. (`allocate` would end
    /// the process.)
    func take(_ size: Int) -> Block? {
        lock.lock()
        defer { lock.unlock() }
        let block: Block
        if let fit = spare.indices.filter({ spare[$0].size >= size }).min(by: {
            spare[$0].size < spare[$1].size
        }) {
            block = spare.remove(at: fit)
        } else {
            dropSpare(until: most - size)
            guard let new = Self.allocate(size) ?? retried(size) else { return nil }
            block = new
        }
        used += block.size
        most = max(most, used)
        return block
    }

    func give(_ block: Block) {
        // Advice, like that for large pages: without it the memory is as it was, and stays taken.
        madvise(block.start, block.size, CInt(MADV_FREE))
        lock.withLock {
            used -= block.size
            spare.append(block)
        }
    }

    /// Once more when nothing is spare.
    private func retried(_ size: Int) -> Block? {
        guard !spare.isEmpty else { return nil }
        dropSpare(until: 0)
        return Self.allocate(size)
    }

    /// Gives the oldest back to the system until all memory is no more than `limit`, or none is spare.
    private func dropSpare(until limit: Int) {
        var all = used + spare.reduce(0) { $0 + $1.size }
        while all > limit, !spare.isEmpty {
            let first = spare.removeFirst()
            free(first.start)
            all -= first.size
        }
    }

    private static func allocate(_ size: Int) -> Block? {
        var start: UnsafeMutableRawPointer?
        guard posix_memalign(&start, page, size) == 0, let start else { return nil }
        #if os(Linux)
            madvise(start, size, CInt(MADV_HUGEPAGE))
        #endif
        return Block(start: start, size: size)
    }
}
