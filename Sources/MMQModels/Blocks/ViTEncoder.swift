import CSIMD
import MMQBase

/// The encoder of a vision tower: pre-norm transformer layers over whole pictures, attention
/// unmasked. CLIP's and EVA's differ in data only.
struct ViTEncoder {
    struct Norm {
        let weight: UnsafePointer<Float>
        let bias: UnsafePointer<Float>

        /// y = norm(x), rows of n; y may be x.
        func apply(
            _ x: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>, rows: Int, n: Int,
            epsilon: Float
        ) {
            csimd_layer_norm(x, weight, bias, epsilon, y, rows, n)
        }
    }
    struct Layer {
        let norm1: Norm
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let norm2: Norm
        let mlp: FeedForward
    }

    let hiddenSize: Int
    let heads: Int
    let epsilon: Float
    let layers: [Layer]

    /// Runs layers in place over x [images, tokens, hidden].
    ///
    /// - Parameter after: called with the index of each layer when x holds its output.
    func run(
        _ x: UnsafeMutablePointer<Float>, images: Int, tokens: Int, layers range: Range<Int>,
        sites: ModuleSites, workspace: Workspace, after: (Int) throws -> Void = { _ in }
    ) throws {
        let rows = images * tokens
        let headDim = hiddenSize / heads
        let normed = workspace.floats(.normed, rows * hiddenSize)
        let query = workspace.floats(.query, rows * hiddenSize)
        let key = workspace.floats(.key, rows * hiddenSize)
        let value = workspace.floats(.value, rows * hiddenSize)
        let delta = workspace.floats(.delta, rows * hiddenSize)
        func keys(_ data: UnsafeMutablePointer<Float>) -> csimd_kv {
            csimd_kv(
                type: CSIMD_F32, data: data, sequence_stride: tokens * hiddenSize,
                position_stride: hiddenSize, head_stride: headDim)
        }
        for index in range {
            let layer = layers[index]
            csimd_layer_norm(
                x, layer.norm1.weight, layer.norm1.bias, epsilon, normed, rows, hiddenSize)
            workspace.stages?.did(.norm, bytes: rows * hiddenSize * 8)
            let operand = workspace.operand(normed, tokens: rows, cols: hiddenSize)
            layer.query.apply(operand, to: query)
            layer.key.apply(operand, to: key)
            layer.value.apply(operand, to: value)
            var attention = csimd_attention_args(
                q: query, q_stride: hiddenSize, k: keys(key), v: keys(value), out: normed,
                out_stride: hiddenSize, sequences: images, tokens: tokens, keys: tokens,
                first_position: 0, heads: heads, kv_heads: heads, head_dim: headDim,
                scale: 1 / Float(headDim).squareRoot(), causal: false)
            guard csimd_attention(&attention) else {
                throw InputError.outOfMemory("attention of the vision tower")
            }
            workspace.stages?.did(
                .attention, operations: images * tokens * tokens * 4 * hiddenSize)
            layer.output.apply(
                workspace.operand(normed, tokens: rows, cols: hiddenSize), to: delta)
            csimd_add(x, delta, rows * hiddenSize)
            workspace.stages?.did(.addition, bytes: rows * hiddenSize * 12)
            csimd_layer_norm(
                x, layer.norm2.weight, layer.norm2.bias, epsilon, normed, rows, hiddenSize)
            workspace.stages?.did(.norm, bytes: rows * hiddenSize * 8)
            layer.mlp.apply(
                normed, tokens: rows, to: delta, sites: sites, layer: index, workspace: workspace)
            csimd_add(x, delta, rows * hiddenSize)
            workspace.stages?.did(.addition, bytes: rows * hiddenSize * 12)
            try after(index)
        }
        sites.saw(tokens: range.isEmpty ? 0 : rows)
    }
}
