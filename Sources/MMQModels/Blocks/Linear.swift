import CSIMD

/// Activations that one or more products take; quantized once, when the first product needs it.
final class ProductOperand {
    fileprivate let pass: Pass
    private var input: csimd_input
    private var isQuantized = false

    fileprivate init(_ x: Rows, _ pass: Pass) {
        self.pass = pass
        input = csimd_input(
            x: x.data, tokens: x.count, cols: x.width, stride: x.width,
            quantized: pass.workspace.quantized(bytes: csimd_quantized_bytes(x.count, x.width)))
    }

    /// How many rows there are.
    var count: Int { input.tokens }

    /// The operand for a product that takes it in int8 or in f32.
    fileprivate func prepared(inIntegers: Bool) -> csimd_input {
        if inIntegers, !isQuantized {
            csimd_quantize_activations(&input)
            isQuantized = true
            // Four bytes are read, one is written.
            pass.did(.rounding, bytes: input.tokens * input.cols * 5)
        }
        return input
    }
}

extension Pass {
    /// x as the operand of products. Only the latest may be in use.
    func operand(_ x: Rows) -> ProductOperand { ProductOperand(x, self) }
}

/// y = x W^T + b, W [outputs, inputs] as it lies in the file.
struct Linear {
    /// The weight [outputs, inputs].
    let matrix: csimd_matrix
    /// The bias [outputs].
    let bias: UnsafePointer<Float>?

    var outputs: Int { matrix.rows }
    var inputs: Int { matrix.cols }

    /// y [rows of x, outputs], in `slot`.
    func apply(_ x: ProductOperand, in slot: Workspace.Slot) -> Rows {
        let y = x.pass.rows(slot, x.count, outputs)
        apply(x, to: y)
        return y
    }

    /// y [rows of x, outputs].
    func apply(_ x: ProductOperand, to y: Rows) {
        precondition(y.count == x.count && y.width == outputs)
        var matrix = matrix
        let inIntegers = csimd_takes_int8(&matrix)
        var input = x.prepared(inIntegers: inIntegers)
        if x.pass.few {
            csimd_matvec(&matrix, bias, &input, y.data, y.width)
        } else {
            csimd_matmul(&matrix, bias, &input, y.data, y.width)
        }
        x.pass.did(
            .product(outputs: outputs, inputs: inputs, integers: inIntegers),
            operations: 2 * x.count * inputs * outputs, bytes: weightBytes)
    }

    /// Bytes of the weight in its file.
    var weightBytes: Int { csimd_row_bytes(matrix.type, matrix.cols) * matrix.rows }
}
