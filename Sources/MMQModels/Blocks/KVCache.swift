import CSIMD

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

    init(layers: Int, kvHeads: Int, headDim: Int, capacity: Int) {
        self.layers = layers
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.capacity = capacity
        // Not initialised: pages that are never reached are never resident.
        let size = max(layers * kvHeads * headDim * capacity, 1)
        keys = .allocate(capacity: size)
        values = .allocate(capacity: size)
    }

    deinit {
        keys.deallocate()
        values.deallocate()
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
