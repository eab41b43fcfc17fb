import CSIMD

/// 64-byte aligned f32 memory of a fixed size, freed with its owner.
final class FloatBuffer {
    /// How many floats it holds.
    let count: Int
    /// The first of them.
    let pointer: UnsafeMutablePointer<Float>

    /// Uninitialised memory for `count` floats.
    init(count: Int) {
        self.count = count
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
        pointer = raw.bindMemory(to: Float.self, capacity: max(count, 1))
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }

    /// The values as an array.
    var array: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}

/// Scratch memory of a forward pass, kept between layers and passes: a pass over thousands of
/// tokens would otherwise ask the system for the same hundreds of megabytes in every layer.
final class Workspace {
    /// What a piece of scratch memory holds.
    enum Slot: Hashable {
        case stream, normed, query, key, value, attended, gate, up, delta, cosSin
    }

    /// Where times go while a pass is looked into.
    var stages: StageTimes?

    private var buffers: [Slot: FloatBuffer] = [:]
    private var quantized: UnsafeMutableRawPointer?
    private var quantizedBytes = 0

    deinit { quantized?.deallocate() }

    /// At least `count` floats for `slot`, contents undefined. Valid until the next call for the
    /// same slot.
    func floats(_ slot: Slot, _ count: Int) -> UnsafeMutablePointer<Float> {
        if let buffer = buffers[slot], buffer.count >= count { return buffer.pointer }
        buffers[slot] = nil  // before the new one is had: the sum of both may not fit
        let buffer = FloatBuffer(count: count)
        buffers[slot] = buffer
        return buffer.pointer
    }

    /// Activations x [tokens, cols] as the operand of products. Only the latest may be in use.
    func operand(_ x: UnsafePointer<Float>, tokens: Int, cols: Int) -> ProductOperand {
        let bytes = csimd_quantized_bytes(tokens, cols)
        if bytes > quantizedBytes {
            quantized?.deallocate()
            quantized = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            quantizedBytes = bytes
        }
        return ProductOperand(
            input: csimd_input(
                x: x, tokens: tokens, cols: cols, stride: cols,
                quantized: bytes > 0 ? quantized : nil),
            stages: stages)
    }

    /// Gives all scratch memory back.
    func release() {
        buffers = [:]
        quantized?.deallocate()
        quantized = nil
        quantizedBytes = 0
    }
}

/// Activations that one or more products take; quantized once, when the first product needs it.
final class ProductOperand {
    fileprivate var input: csimd_input
    private var isQuantized = false

    fileprivate let stages: StageTimes?

    fileprivate init(input: csimd_input, stages: StageTimes?) {
        self.input = input
        self.stages = stages
    }

    /// The operand for a product that takes it in int8 or in f32.
    fileprivate func prepared(inIntegers: Bool) -> csimd_input {
        if inIntegers, !isQuantized {
            csimd_quantize_activations(&input)
            isQuantized = true
            stages?.did(.rounding, bytes: input.tokens * input.cols * 5)
        }
        return input
    }
}

/// y = x W^T + b, W [outputs, inputs] as it lies in the file.
struct Linear {
    /// The weight [outputs, inputs].
    let matrix: csimd_matrix
    /// The bias [outputs].
    let bias: UnsafePointer<Float>?

    var outputs: Int { matrix.rows }
    var inputs: Int { matrix.cols }

    /// y [tokens, outputs].
    ///
    /// - Parameter few: decoding: a few tokens, each weight read once. A prefill always takes the
    ///   other path, so that its results do not depend on how many tokens it has.
    func apply(
        _ operand: ProductOperand, to y: UnsafeMutablePointer<Float>, stride: Int? = nil,
        few: Bool = false
    ) {
        var matrix = matrix
        let inIntegers = csimd_takes_int8(&matrix)
        var input = operand.prepared(inIntegers: inIntegers)
        if few {
            csimd_matvec(&matrix, bias, &input, y, stride ?? outputs)
        } else {
            csimd_matmul(&matrix, bias, &input, y, stride ?? outputs)
        }
        operand.stages?.did(
            .product(outputs: outputs, inputs: inputs, integers: inIntegers),
            operations: 2 * input.tokens * inputs * outputs, bytes: weightBytes)
    }

    /// Bytes of the weight in its file.
    var weightBytes: Int { csimd_row_bytes(matrix.type, matrix.cols) * matrix.rows }
}
