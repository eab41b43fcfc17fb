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
        precondition((1...MomentRequest.mostKept).contains(keep) && least.count == size)
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

    /// What is in it.
    var moments: ModuleMoments {
        func numbers<Number>(_ memory: UnsafeMutablePointer<Number>, _ count: Int) -> [Number] {
            Array(UnsafeBufferPointer(start: memory, count: count))
        }
        return ModuleMoments(
            shape: shape, keep: keep, tokens: Int64(rows.first ?? 0),
            values: numbers(values, size * keep), places: numbers(places, size * keep),
            above: numbers(above, size * MomentHistogram.edges.count))
    }
}
