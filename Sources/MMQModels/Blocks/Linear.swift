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
        Self.apply([self], x, to: [y])
    }

    /// What each of up to four makes of x, [rows of x, its outputs], in its slot: together, so that
    /// threads wait for each other once.
    static func apply(_ all: [(Linear, in: Workspace.Slot)], _ x: ProductOperand) -> [Rows] {
        let ys = all.map { x.pass.rows($0.in, x.count, $0.0.outputs) }
        let linears = all.map(\.0)
        if Set(linears.map(\.takesIntegers)).count == 1 {
            apply(linears, x, to: ys)
        } else {
            for (linear, y) in zip(linears, ys) { linear.apply(x, to: y) }
        }
        return ys
    }

    /// The same; all take the activations in integers, or none does.
    private static func apply(_ all: [Linear], _ x: ProductOperand, to ys: [Rows]) {
        precondition(all.count <= CSIMD_MOST_PRODUCTS)
        for linear in all {
            if let name = linear.name { x.note(for: name) }
        }
        let inIntegers = all[0].takesIntegers
        var input = x.prepared(inIntegers: inIntegers)
        all.map(\.matrix).withUnsafeBufferPointer { matrices in
            let products = zip(all, ys).enumerated().map { place, one in
                let (linear, y) = one
                precondition(y.count == x.count && y.width == linear.outputs)
                return csimd_product(
                    w: matrices.baseAddress?.advanced(by: place), bias: linear.bias, y: y.data,
                    y_stride: y.width)
            }
            if x.pass.few {
                csimd_matvecs(products, products.count, &input)
            } else {
                csimd_matmuls(products, products.count, &input)
            }
        }
        // A row of the table for each shape: q, k and v have that of the output projection in a 7B.
        let outputs = all.reduce(0) { $0 + $1.outputs }
        let alike = all.allSatisfy { $0.outputs == all[0].outputs }
        x.pass.did(
            .product(
                outputs: alike ? all[0].outputs : outputs, inputs: all[0].inputs,
                integers: inIntegers),
            operations: 2 * x.count * all[0].inputs * outputs,
            bytes: all.reduce(0) { $0 + $1.weightBytes })
    }

    /// Bytes of the weight in its file.
    var weightBytes: Int { csimd_row_bytes(matrix.type, matrix.cols) * matrix.rows }
}
