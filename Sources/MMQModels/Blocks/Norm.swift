import CSIMD

/// A norm over each row, with its weights [width].
enum Norm {
    /// x / sqrt(mean(x²) + epsilon) · weight.
    case rms(weight: UnsafePointer<Float>, epsilon: Float)
    /// (x - mean) / sqrt(variance + epsilon) · weight + bias.
    case layer(weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, epsilon: Float)

    /// norm(x), in `.normed`.
    func apply(_ x: Rows, _ pass: Pass) -> Rows {
        let y = pass.rows(.normed, x.count, x.width)
        apply(x, to: y, pass)
        return y
    }

    /// y = norm(x); y may be x.
    func apply(_ x: Rows, to y: Rows, _ pass: Pass) {
        switch self {
        case .rms(let weight, let epsilon):
            csimd_rms_norm(x.data, weight, epsilon, y.data, x.count, x.width)
        case .layer(let weight, let bias, let epsilon):
            csimd_layer_norm(x.data, weight, bias, epsilon, y.data, x.count, x.width)
        }
        pass.did(.norm, bytes: x.bytes + y.bytes)
    }

    /// x = norm(x + added): the residual connection where norms stand behind the blocks.
    func add(_ added: Rows, to x: Rows, _ pass: Pass) {
        pass.add(added, to: x)
        apply(x, to: x, pass)
    }
}
