import CSIMD
import Foundation
import MMQBase

/// Keys and values of one sequence, f16, [layers, capacity, kv heads, head dim]: a step writes all heads
/// of a position side by side, and reads them so.
public final class KVCache {
    /// Bytes of a key's and a value's number.
    static let valueBytes = 2 * MemoryLayout<UInt16>.size

    /// Positions filled.
    public internal(set) var count = 0
    /// Positions that fit.
    public let capacity: Int

    private let layers: Int
    private let headDim: Int
    /// Values of one position: kv heads x head dim.
    private let width: Int
    private let keys: UnsafeMutablePointer<UInt16>
    private let values: UnsafeMutablePointer<UInt16>

    /// - Throws: `InputError.outOfMemory`: how many positions there may be is said by a file.
    init(layers: Int, kvHeads: Int, headDim: Int, capacity: Int) throws {
        self.layers = layers
        self.headDim = headDim
        width = kvHeads * headDim
        self.capacity = capacity
        let (size, overflow) = (layers * kvHeads * headDim * MemoryLayout<UInt16>.size)
            .multipliedReportingOverflow(by: max(capacity, 1))
        guard !overflow, let first = Self.memory(size) else {
            throw InputError.outOfMemory("keys and values of \(capacity) tokens")
        }
        guard let second = Self.memory(size) else {
            free(first)
            throw InputError.outOfMemory("keys and values of \(capacity) tokens")
        }
        keys = first.assumingMemoryBound(to: UInt16.self)
        values = second.assumingMemoryBound(to: UInt16.self)
    }

    /// `size` bytes, not initialised: pages that are never reached are never resident. (`allocate` would
    /// end the process where there is no room.) In pages of 2 MB where the system has them and one layer's
    /// fill some: 1.5 GB of 4 KB pages take half a second to be made.
    private static func memory(_ size: Int) -> UnsafeMutableRawPointer? {
        #if os(Linux)
            let page = 1 << 21
            guard size >= 64 * page else { return malloc(size) }
            var data: UnsafeMutableRawPointer?
            guard posix_memalign(&data, page, size) == 0, let data else { return nil }
            // Advice: without it things are as they were.
            madvise(data, size, CInt(MADV_HUGEPAGE))
            return data
        #else
            return malloc(size)
        #endif
    }

    deinit {
        free(keys)
        free(values)
    }

    /// The cache of one layer.
    subscript(layer: Int) -> Layer {
        Layer(cache: self, first: layer * capacity * width)
    }

    /// Keys and values of one layer, [capacity, kv heads, head dim] each.
    struct Layer {
        fileprivate let cache: KVCache
        /// Where the layer begins, in values.
        fileprivate let first: Int

        /// Positions filled, which is the same in all layers.
        var count: Int { cache.count }
        /// All keys.
        var keys: csimd_kv { view(cache.keys) }
        /// All values.
        var values: csimd_kv { view(cache.values) }

        private func view(_ data: UnsafeMutablePointer<UInt16>) -> csimd_kv {
            csimd_kv(
                type: CSIMD_F16, data: data + first, sequence_stride: 0,
                position_stride: cache.width, head_stride: cache.headDim)
        }

        /// Stores keys and values [tokens, kv heads x head dim] behind the positions filled. They are
        /// filled once every layer has stored its own and `count` is raised.
        func store(_ key: Rows, _ value: Rows) {
            precondition(
                count + key.count <= cache.capacity,
                "the cache has room for \(cache.capacity) positions")
            precondition(key.width == cache.width && value.width == cache.width)
            let next = first + count * cache.width
            csimd_to_halves(key.data, cache.keys + next, key.size)
            csimd_to_halves(value.data, cache.values + next, value.size)
        }
    }
}
