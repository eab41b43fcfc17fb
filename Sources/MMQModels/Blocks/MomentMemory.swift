import CSIMD

/// Where the kernels put the strongest activations of a module and its histogram, in one pass.
final class MomentMemory {
    private let shape: ModuleShape
    private let keep: Int
    private let floors: UnsafeMutablePointer<Float>
    private let values: UnsafeMutablePointer<Float>
    private let places: UnsafeMutablePointer<UInt32>
    private let above: UnsafeMutablePointer<UInt32>
    /// Rows that each layer has seen.
    private var rows: [Int]
    /// What a kernel is told: it stands still while one runs.
    private let told = UnsafeMutablePointer<csimd_moments>.allocate(capacity: 1)

    private var size: Int { shape.layers * shape.neurons }

    /// - Precondition: `floors` are as many as the module has neurons.
    init(_ shape: ModuleShape, keep: Int, floors least: [Float]) {
        func memory<Number>(_ count: Int, _ zero: Number) -> UnsafeMutablePointer<Number> {
            let numbers = UnsafeMutablePointer<Number>.allocate(capacity: max(count, 1))
            numbers.initialize(repeating: zero, count: count)
            return numbers
        }
        let size = shape.layers * shape.neurons
        precondition(keep >= 1 && least.count == size)
        self.shape = shape
        self.keep = keep
        rows = Array(repeating: 0, count: shape.layers)
        floors = memory(size, -.infinity)
        floors.update(from: least, count: size)
        values = memory(size * keep, -.infinity)
        places = memory(size * keep, 0)
        above = memory(size * MomentHistogram.edges.count, 0)
        told.initialize(to: csimd_moments())
    }

    deinit {
        floors.deallocate()
        values.deallocate()
        places.deallocate()
        above.deallocate()
        told.deallocate()
    }

    /// What the next rows of a layer go into; valid until the next call.
    func append(layer: Int, rows count: Int) -> UnsafePointer<csimd_moments> {
        let first = layer * shape.neurons
        told.pointee = csimd_moments(
            keep: keep, stride: shape.neurons, token: UInt32(rows[layer]), floors: floors + first,
            values: values + first * keep, tokens: places + first * keep,
            above: above + first * MomentHistogram.edges.count)
        rows[layer] += count
        return UnsafePointer(told)
    }

    /// What is in it. Kernels have neurons side by side, ranks one below the other.
    var moments: ModuleMoments {
        var moments = ModuleMoments(shape: shape, keep: keep)
        let neurons = shape.neurons
        moments.values.withUnsafeMutableBufferPointer { values in
            moments.places.withUnsafeMutableBufferPointer { places in
                for layer in 0..<shape.layers {
                    let first = layer * neurons * keep
                    for neuron in 0..<neurons {
                        var (from, to) = (first + neuron, first + neuron * keep)
                        for _ in 0..<keep where self.values[from] > -.infinity {
                            (values[to], places[to]) = (self.values[from], self.places[from])
                            from += neurons
                            to += 1
                        }
                    }
                }
            }
        }
        moments.above.withUnsafeMutableBufferPointer {
            _ = $0.update(fromContentsOf: UnsafeBufferPointer(start: above, count: $0.count))
        }
        moments.tokens = Int64(rows.first ?? 0)
        return moments
    }
}
