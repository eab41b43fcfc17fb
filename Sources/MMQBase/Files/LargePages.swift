import CMappings
import Foundation

/// Pages of 2 MB, which Linux gives to mapped files on some file systems (ext4 since 6.16, xfs): a product that streams through weights meets a new page every
/// fraction of a microsecond, and in pages of 4 KB waits for the processor to look up where it lies.
enum LargePages {
    /// Bytes of a page: what an entry of the last table but one stands for where pages have 4 KB.
    static let size = 2 << 20

    /// Asks for large pages in a mapped file of `count` bytes. A hint, never needed for correctness.
    ///
    /// Pieces that are not in memory yet are then read as large as that; pieces that are,
    /// are mapped so if they were read or written (`OutputFile`) as large as that. (Kernels of before the
    /// end of 2025 may go on mapping what another process cuts off such a piece, as zeros.)
    static func want(_ mapping: UnsafeMutableRawPointer, _ count: Int) {
        #if os(Linux)
            if count >= size { madvise(mapping, count, MADV_HUGEPAGE) }
        #endif
    }

    /// Whether an open file may have them: on other file systems nothing that is done for them helps.
    static func canBeHad(for descriptor: Int32) -> Bool {
        let (ext4, xfs) = (0xef53 as UInt, 0x5846_5342 as UInt)
        return getpagesize() == 4096 && [ext4, xfs].contains(file_system_kind(descriptor))
    }
}
