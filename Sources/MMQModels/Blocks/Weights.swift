import CSIMD

/// Finds weights by name and hands them out as the blocks want them.
struct Weights {
    private let files: ModelFiles

    init(_ files: ModelFiles) { self.files = files }

    /// A matrix [rows, cols].
    func matrix(_ name: String) throws -> csimd_matrix {
        let view = try files.weight(name)
        return csimd_matrix(type: view.type, data: view.pointer, rows: view.rows, cols: view.cols)
    }

    /// An f32 tensor, read where it lies.
    func vector(_ name: String) throws -> UnsafePointer<Float> {
        // The loader has checked that plain tensors are F32; GGUF aligns them.
        try files.weight(name).pointer.assumingMemoryBound(to: Float.self)
    }

    /// `name.weight` and, where the model has one, `name.bias`.
    func linear(_ name: String, bias: Bool = true) throws -> Linear {
        let hasBias = bias && files.has(name + ".bias")
        return Linear(
            name: name + ".weight", matrix: try matrix(name + ".weight"),
            bias: hasBias ? try vector(name + ".bias") : nil)
    }

    /// `name.weight` and `name.bias` of a layer norm.
    func norm(_ name: String, epsilon: Float) throws -> Norm {
        .layer(
            weight: try vector(name + ".weight"), bias: try vector(name + ".bias"),
            epsilon: epsilon)
    }

    /// `name.weight` of an RMS norm.
    func rmsNorm(_ name: String, epsilon: Float) throws -> Norm {
        .rms(weight: try vector(name + ".weight"), epsilon: epsilon)
    }

    /// `name_q`, `name_k`, `name_v` and the projection of what they find, `name` + `output`.
    func attention(_ name: String, output: String, heads: Int, kvHeads: Int) throws -> Attention {
        Attention(
            query: try linear(name + "_q"), key: try linear(name + "_k"),
            value: try linear(name + "_v"), output: try linear(name + output), heads: heads,
            kvHeads: kvHeads)
    }
}
