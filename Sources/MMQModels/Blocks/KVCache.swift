import CSIMD
import Foundation
import MMQBase

/// Keys and values of one sequence, f16, [layers, kv heads, capacity, head dim].
public final class KVCache {
    /// Positions filled.
    public internal(set) var count = 0
    /// Positions that fit.
    public let capacity: Int

    private let layers: Int
    private let kvHeads: Int
    private let headDim: Int
    private let keys: UnsafeMutablePointer<UInt16>
    private let values: UnsafeMutablePointer<UInt16>

    /// - Throws: `InputError.outOfMemory`: how many positions there may be is said by a file.
    init(layers: Int, kvHeads: Int, headDim: Int, capacity: Int) throws {
        self.layers = layers
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.capacity = capacity
        let (size, overflow) = (layers * kvHeads * headDim * MemoryLayout<UInt16>.size)
            .multipliedReportingOverflow(by: max(capacity, 1))
        // Not initialised: pages that are never reached are never resident. `allocate` would end
        // the process where there is no room.
        guard !overflow, let first = malloc(size) else {
            throw InputError.outOfMemory("keys and values of \(capacity) tokens")
        }
        guard let second = malloc(size) else {
            free(first)
            throw InputError.outOfMemory("keys and values of \(capacity) tokens")
        }
        keys = first.assumingMemoryBound(to: UInt16.self)
        values = second.assumingMemoryBound(to: UInt16.self)
    }

    deinit {
        free(keys)
        free(values)
    }

    /// The cache of one layer.
    subscript(layer: Int) -> Layer {
        Layer(cache: self, first: layer * kvHeads * capacity * headDim)
    }

    /// Keys and values of one layer, [kv heads, capacity, head dim] each.
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
                position_stride: cache.headDim, head_stride: cache.capacity * cache.headDim)
        }

        /// Stores keys and values [tokens, kv heads x head dim] behind the positions filled. They are
        /// filled once every layer has stored its own and `count` is raised.
        func store(_ key: Rows, _ value: Rows) {
            let (capacity, headDim) = (cache.capacity, cache.headDim)
            precondition(
                count + key.count <= capacity, "the cache has room for \(capacity) positions")
            for (data, source) in [(cache.keys, key), (cache.values, value)] {
                for head in 0..<cache.kvHeads {
                    var target = data + first + (head * capacity + count) * headDim
                    for token in 0..<source.count {
                        csimd_f32_to_f16(source[token] + head * headDim, target, headDim)
                        target += headDim
                    }
                }
            }
        }
    }
}
