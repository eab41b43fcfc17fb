import CSIMD

/// Activations that one or more products take; quantized once, when the first product needs it.
final class ProductOperand {
    fileprivate let pass: Pass
    private var input: csimd_input
    private var isQuantized = false
    private let rows: Rows
    private let first: Int
    private lazy var measured = pass.inputs?.measure(rows, first: first)

    fileprivate init(_ x: Rows, first: Int, _ pass: Pass) {
        self.pass = pass
        rows = x
        self.first = first
        let integers = pass.workspace.activations.kernel
        input = csimd_input(
            x: x.data, tokens: x.count, cols: x.width, stride: x.width, integers: integers,
            quantized: pass.workspace.quantized(
                bytes: csimd_quantized_bytes(x.count, x.width, integers)))
    }

    /// How many rows there are.
    var count: Int { input.tokens }

    /// Measures it, where inputs are measured, for the product of that name.
    fileprivate func note(for name: String) {
        guard let inputs = pass.inputs, let measured else { return }
        inputs.add(name, measured)
        pass.did(.other)
    }

    /// The operand for a product that takes it in integers or in f32.
    fileprivate func prepared(inIntegers: Bool) -> csimd_input {
        if inIntegers, !isQuantized {
            csimd_quantize_activations(&input)
            isQuantized = true
            // Four bytes are read, one or two are written.
            let written = input.integers == CSIMD_INT8 ? 1 : 2
            pass.did(.rounding, bytes: input.tokens * input.cols * (4 + written))
        }
        return input
    }
}

extension Pass {
    /// x as the operand of products. Only the latest may be in use.
    ///
    /// - Parameter first: which row of the pass the first row of x is.
    func operand(_ x: Rows, first: Int = 0) -> ProductOperand {
        ProductOperand(x, first: first, self)
    }
}

/// y = x W^T + b, W [outputs, inputs] as it lies in the file.
struct Linear {
    /// The weight's name in its file, under which its inputs are measured; nil: they never are.
    var name: String?
    /// The weight [outputs, inputs].
    let matrix: csimd_matrix
    /// The bias [outputs].
    let bias: UnsafePointer<Float>?

    /// Whether products take the activations in integers; else in f32.
    var takesIntegers: Bool {
        var matrix = matrix
        return csimd_takes_integers(&matrix)
    }

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
        if let name { x.note(for: name) }
        var matrix = matrix
        let inIntegers = takesIntegers
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
