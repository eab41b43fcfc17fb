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

    private func layer(_ data: UnsafeMutablePointer<UInt16>, _ index: Int) -> UnsafeMutablePointer<
        UInt16
    > {
        data + index * kvHeads * capacity * headDim
    }

    private func view(_ data: UnsafeMutablePointer<UInt16>, layer index: Int) -> csimd_kv {
        csimd_kv(
            type: CSIMD_F16, data: layer(data, index), sequence_stride: 0,
            position_stride: headDim, head_stride: capacity * headDim)
    }

    func keys(layer: Int) -> csimd_kv { view(keys, layer: layer) }
    func values(layer: Int) -> csimd_kv { view(values, layer: layer) }

    /// Stores k and v [tokens, kv heads, head dim] of one layer at positions from `first`.
    func store(
        layer index: Int, first: Int, tokens: Int, key: UnsafePointer<Float>,
        value: UnsafePointer<Float>
    ) {
        precondition(first + tokens <= capacity, "the cache has room for \(capacity) positions")
        for (data, source) in [(keys, key), (values, value)] {
            for head in 0..<kvHeads {
                var target = layer(data, index) + (head * capacity + first) * headDim
                for token in 0..<tokens {
                    csimd_f32_to_f16(
                        source + (token * kvHeads + head) * headDim, target, headDim)
                    target += headDim
                }
            }
        }
    }
}
