import CSIMD
import MMQBase

/// InstructBLIP's Q-Former: a BERT encoder over queries and instruction text together. Attention
/// runs over both; only the queries look at the picture, and each kind has an MLP of its own.
struct QFormer {
    /// Attention with its output projection and norm: norm(x + out(attention(x, memory))).
    struct Attention {
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let norm: ViTEncoder.Norm
    }
    /// An MLP with its norm: norm(x + mlp(x)).
    struct Branch {
        let mlp: FeedForward
        let norm: ViTEncoder.Norm
    }
    struct Layer {
        let attention: Attention
        let crossAttention: Attention?
        let text: Branch
        let query: Branch
    }

    let hiddenSize: Int
    let heads: Int
    let epsilon: Float
    let queryTokens: Int
    /// Most text tokens that have a position.
    let contextLength: Int
    /// Width of the picture's embeddings.
    let memorySize: Int
    private let layers: [Layer]
    private let queries: UnsafePointer<Float>
    private let words: UnsafePointer<Float>
    private let positions: UnsafePointer<Float>
    private let embeddingNorm: ViTEncoder.Norm

    init(weights: Weights, config: InstructBLIPConfig) throws {
        let qformer = config.qformer
        hiddenSize = qformer.hiddenSize
        heads = qformer.heads
        epsilon = qformer.normEpsilon
        queryTokens = config.queryTokens
        contextLength = qformer.contextLength
        memorySize = config.vision.hiddenSize
        queries = try weights.vector("q.query_embd")
        words = try weights.vector("q.token_embd.weight")
        positions = try weights.vector("q.position_embd.weight")
        embeddingNorm = try weights.norm("q.embd_ln")
        layers = try (0..<qformer.layers).map { index in
            let block = "q.blk.\(index)."
            func attention(_ name: String) throws -> Attention {
                Attention(
                    query: try weights.linear(block + name + "_q"),
                    key: try weights.linear(block + name + "_k"),
                    value: try weights.linear(block + name + "_v"),
                    output: try weights.linear(block + name + "_out"),
                    norm: try weights.norm(block + name + "_ln"))
            }
            func branch(_ name: String) throws -> Branch {
                Branch(
                    mlp: FeedForward(
                        up: try weights.linear(block + name + "_up"),
                        down: try weights.linear(block + name + "_down"),
                        activation: qformer.activation.kernel),
                    norm: try weights.norm(block + name + "_ln"))
            }
            return Layer(
                attention: try attention("attn"),
                crossAttention: qformer.hasCrossAttention(index)
                    ? try attention("cross_attn") : nil,
                text: try branch("ffn"), query: try branch("query_ffn"))
        }
    }

    /// The queries' outputs [query tokens, hidden].
    ///
    /// - Parameters:
    ///   - memory: the picture's embeddings [memoryTokens, memorySize].
    ///   - text: the instruction's ids, each within the vocabulary, at most `contextLength`.
    ///   - counts: while counting, the last text MLP runs too, although nobody uses its output.
    func run(
        memory: UnsafePointer<Float>, memoryTokens: Int, text: [Int32], querySites: ModuleSites,
        textSites: ModuleSites, counts: Bool, workspace: Workspace
    ) throws -> FloatBuffer {
        let rows = queryTokens + text.count
        let buffer = FloatBuffer(count: rows * hiddenSize)
        let x = buffer.pointer
        x.update(from: queries, count: queryTokens * hiddenSize)
        for (index, id) in text.enumerated() {
            let row = x + (queryTokens + index) * hiddenSize
            row.update(from: words + Int(id) * hiddenSize, count: hiddenSize)
            csimd_add(row, positions + index * hiddenSize, hiddenSize)
        }
        embeddingNorm.apply(x, to: x, rows: rows, n: hiddenSize, epsilon: epsilon)
        workspace.stages?.did(.embedding)
        let textRows = x + queryTokens * hiddenSize
        for (index, layer) in layers.enumerated() {
            try attend(
                layer.attention, x, tokens: rows, memory: x, memoryTokens: rows,
                memorySize: hiddenSize, workspace: workspace)
            if let cross = layer.crossAttention {
                try attend(
                    cross, x, tokens: queryTokens, memory: memory, memoryTokens: memoryTokens,
                    memorySize: memorySize, workspace: workspace)
            }
            apply(
                layer.query, x, tokens: queryTokens, sites: querySites, layer: index,
                workspace: workspace)
            if counts || index + 1 < layers.count {
                apply(
                    layer.text, textRows, tokens: text.count, sites: textSites, layer: index,
                    workspace: workspace)
            }
        }
        querySites.saw(tokens: queryTokens)
        textSites.saw(tokens: text.count)
        return buffer
    }

    /// x = norm(x + out(attention(x, memory))), x [tokens, hidden].
    private func attend(
        _ attention: Attention, _ x: UnsafeMutablePointer<Float>, tokens: Int,
        memory: UnsafePointer<Float>, memoryTokens: Int, memorySize: Int, workspace: Workspace
    ) throws {
        let headDim = hiddenSize / heads
        let query = workspace.floats(.query, tokens * hiddenSize)
        let key = workspace.floats(.key, memoryTokens * hiddenSize)
        let value = workspace.floats(.value, memoryTokens * hiddenSize)
        let attended = workspace.floats(.attended, tokens * hiddenSize)
        let delta = workspace.floats(.delta, tokens * hiddenSize)
        attention.query.apply(
            workspace.operand(x, tokens: tokens, cols: hiddenSize), to: query)
        let operand = workspace.operand(memory, tokens: memoryTokens, cols: memorySize)
        attention.key.apply(operand, to: key)
        attention.value.apply(operand, to: value)
        func view(_ data: UnsafeMutablePointer<Float>) -> csimd_kv {
            csimd_kv(
                type: CSIMD_F32, data: data, sequence_stride: 0, position_stride: hiddenSize,
                head_stride: headDim)
        }
        var arguments = csimd_attention_args(
            q: query, q_stride: hiddenSize, k: view(key), v: view(value), out: attended,
            out_stride: hiddenSize, sequences: 1, tokens: tokens, keys: memoryTokens,
            first_position: 0, heads: heads, kv_heads: heads, head_dim: headDim,
            scale: 1 / Float(headDim).squareRoot(), causal: false)
        guard csimd_attention(&arguments) else {
            throw InputError.outOfMemory("attention of the Q-Former")
        }
        workspace.stages?.did(.attention, operations: tokens * memoryTokens * 4 * hiddenSize)
        attention.output.apply(
            workspace.operand(attended, tokens: tokens, cols: hiddenSize), to: delta)
        csimd_add(x, delta, tokens * hiddenSize)
        attention.norm.apply(x, to: x, rows: tokens, n: hiddenSize, epsilon: epsilon)
        workspace.stages?.did(.norm, bytes: tokens * hiddenSize * 20)
    }

    /// x = norm(x + mlp(x)), x [tokens, hidden].
    private func apply(
        _ branch: Branch, _ x: UnsafeMutablePointer<Float>, tokens: Int, sites: ModuleSites,
        layer: Int, workspace: Workspace
    ) {
        let delta = workspace.floats(.delta, tokens * hiddenSize)
        branch.mlp.apply(
            x, tokens: tokens, to: delta, sites: sites, layer: layer, workspace: workspace)
        csimd_add(x, delta, tokens * hiddenSize)
        branch.norm.apply(x, to: x, rows: tokens, n: hiddenSize, epsilon: epsilon)
        workspace.stages?.did(.norm, bytes: tokens * hiddenSize * 20)
    }
}
