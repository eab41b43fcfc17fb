import CSIMD
import MMQBase

extension WeightRounding {
    /// Seconds that a layer takes, from a trial of each of its parts on small matrices, which takes
    /// some tenths of a second. Attention, norms and files are left out.
    public func secondsALayer() throws -> Double {
        guard let layer = decoder.layers.first else { return 0 }
        let trial = try RoundingTrial(
            model.backend.workspace.activations.kernel, refinements: options.refinements)
        let (attention, mlp) = (layer.attention, layer.mlp)
        let tokens = Double(positions)
        var seconds = 0.0
        for first in [attention.query, attention.output, mlp.gate, mlp.down] {
            let n = Double(first.inputs)
            seconds += trial.moments * tokens * n * n + trial.splitting * n * n * n
            if corrects {
                // Moments are symmetric, so half of theirs are multiplied.
                let adds = [attention.output.name, mlp.down.name].contains(first.name)
                let changes = n + (adds ? Double(first.outputs) : 0)
                seconds += 2 * trial.moments * tokens * n * changes
            }
        }
        // Once for the moments of `down`, once for the next layer.
        let twice = [mlp.gate.name, mlp.up.name]
        for product in layer.products {
            guard let type = type(of: product) else { continue }
            let weights = Double(product.inputs * product.outputs)
            let passes = twice.contains(product.name) ? 2.0 : 1
            let cost = try trial.cost(of: type)
            seconds += weights * (cost.rounding + tokens * passes * cost.product)
            if corrects {
                seconds += weights * tokens * (try trial.cost(of: product.matrix.type).product)
            }
            if RoundedMatrix.takes(type) {
                // A change is multiplied with all columns, and solved for from both ends.
                let columns = Double(product.inputs) * (corrects ? 2 : 0)
                let carried = RoundingTrial.carried(
                    product.inputs, refinements: options.refinements)
                seconds += weights * (carried + columns) * trial.carrying
            }
        }
        return seconds
    }
}

/// What the parts of rounding take here, in seconds.
private final class RoundingTrial {
    /// Of a token's moments, for each pair of inputs.
    let moments: Double
    /// Of n x n moments, over n^3.
    let splitting: Double
    /// Of an error that is carried to one later column of its row.
    let carrying: Double
    private let integers: csimd_integers
    private let refinements: Int
    private let split: SplitMoments
    private let values: FloatBuffer
    private var costs: [UInt32: (rounding: Double, product: Double)] = [:]

    private static let side = 1024, rows = 64

    /// - Parameters:
    ///   - integers: what products round activations to.
    ///   - refinements: how often levels are gone over again.
    init(_ integers: csimd_integers, refinements: Int) throws {
        let side = Self.side
        (self.integers, self.refinements) = (integers, refinements)
        values = FloatBuffer(count: side * side)
        var state: UInt32 = 1
        for i in 0..<values.count {
            state = state &* 1_664_525 &+ 1_013_904_223
            values.pointer[i] = Float(state >> 8) / Float(1 << 24) - 0.5
        }
        let second = SecondMoments(inputs: side)
        let rows = Rows(values.pointer, count: side, width: side)
        let cube = Double(side * side * side)
        second.add(rows) { _ in 0 }  // what a first call takes beside
        moments = Self.timed { second.add(rows) { _ in 1 } }.seconds / cube
        let made = try Self.timed { try second.split(damping: 1, of: "trial", in: "trial") }
        (split, splitting) = (made.result, made.seconds / cube)
        carrying = Self.product(
            csimd_matrix(
                type: CSIMD_F32, data: values.pointer, rows: 256, cols: side),
            values, integers)
    }

    /// Columns that a weight's error is carried to: those behind, and all each time that they are gone
    /// over again.
    static func carried(_ inputs: Int, refinements: Int) -> Double {
        Double(inputs) * (0.5 + Double(refinements))
    }

    /// Of a type: to round a weight, what is carried left out, and to multiply it with a token.
    func cost(of type: csimd_type) throws -> (rounding: Double, product: Double) {
        if let cost = costs[type.rawValue] { return cost }
        let (rows, side) = (Self.rows, Self.side)
        let source = csimd_matrix(type: CSIMD_F32, data: values.pointer, rows: rows, cols: side)
        let rounded = try Self.timed {
            try RoundedMatrix(
                rounding: source, to: type, by: split, refinements: refinements, name: "trial",
                in: "trial")
        }
        let carried =
            RoundedMatrix.takes(type) ? Self.carried(side, refinements: refinements) * carrying : 0
        let cost = (
            rounding: max(0, rounded.seconds / Double(rows * side) - carried),
            product: withExtendedLifetime(rounded.result) {
                Self.product(rounded.result.matrix, values, integers)
            }
        )
        costs[type.rawValue] = cost
        return cost
    }

    /// Of a weight with a token.
    private static func product(
        _ matrix: csimd_matrix, _ values: FloatBuffer, _ integers: csimd_integers
    ) -> Double {
        let tokens = side
        let out = FloatBuffer(count: tokens * matrix.rows)
        let quantized = UnsafeMutableRawPointer.allocate(
            byteCount: csimd_quantized_bytes(tokens, matrix.cols, integers), alignment: 64)
        defer { quantized.deallocate() }
        var matrix = matrix
        var input = csimd_input(
            x: values.pointer, tokens: tokens, cols: matrix.cols, stride: matrix.cols,
            integers: integers, quantized: quantized)
        csimd_quantize_activations(&input)
        func multiply() { csimd_matmul(&matrix, nil, &input, out.pointer, matrix.rows) }
        multiply()
        return timed(multiply).seconds / Double(tokens * matrix.rows * matrix.cols)
    }

    private static func timed<Result>(
        _ work: () throws -> Result
    ) rethrows -> (result: Result, seconds: Double) {
        let clock = ContinuousClock(), start = clock.now
        let result = try work()
        return (result, clock.seconds(since: start))
    }
}
