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
    private let keyMemory, valueMemory: Memory
    private var keys: UnsafeMutablePointer<UInt16> { keyMemory.numbers }
    private var values: UnsafeMutablePointer<UInt16> { valueMemory.numbers }

    /// - Throws: `InputError.outOfMemory`: how many positions there may be is said by a file.
    init(layers: Int, kvHeads: Int, headDim: Int, capacity: Int) throws {
        self.layers = layers
        self.headDim = headDim
        width = kvHeads * headDim
        self.capacity = capacity
        let (size, overflow) = (layers * kvHeads * headDim * MemoryLayout<UInt16>.size)
            .multipliedReportingOverflow(by: max(capacity, 1))
        guard !overflow, let keys = Memory(size), let values = Memory(size) else {
            throw InputError.outOfMemory("keys and values of \(capacity) tokens")
        }
        keyMemory = keys
        valueMemory = values
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

/// Memory of keys or of values, not initialised: pages that are never reached are never resident.
private final class Memory {
    private let block: SpareMemory.Block
    var numbers: UnsafeMutablePointer<UInt16> { block.start.assumingMemoryBound(to: UInt16.self) }

    /// - Returns: nil where there is no room. (`allocate` would end the process.)
    init?(_ size: Int) {
        let block =
            size < SpareMemory.least
            ? malloc(size).map { SpareMemory.Block(start: $0, size: size) }
            : SpareMemory.shared.take(size)
        guard let block else { return nil }
        self.block = block
    }

    deinit {
        if block.size < SpareMemory.least {
            free(block.start)
        } else {
            SpareMemory.shared.give(block)
        }
    }
}
