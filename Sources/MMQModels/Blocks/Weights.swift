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
            matrix: try matrix(name + ".weight"),
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

extension LlamaDecoder {
    /// The decoder of a `llama` GGUF.
    convenience init(weights: Weights, config: LlamaConfig, hasHead: Bool) throws {
        let layers = try (0..<config.layers).map { index in
            let block = "blk.\(index)."
            return Layer(
                attentionNorm: try weights.rmsNorm(
                    block + "attn_norm", epsilon: config.normEpsilon),
                attention: try weights.attention(
                    block + "attn", output: "_output", heads: config.heads,
                    kvHeads: config.kvHeads),
                mlpNorm: try weights.rmsNorm(block + "ffn_norm", epsilon: config.normEpsilon),
                mlp: GatedFeedForward(
                    gate: try weights.linear(block + "ffn_gate"),
                    up: try weights.linear(block + "ffn_up"),
                    down: try weights.linear(block + "ffn_down")))
        }
        let embedding = try weights.matrix("token_embd.weight")
        self.init(
            hiddenSize: config.hiddenSize, kvHeads: config.kvHeads,
            rotary: RotaryPositions(headDim: config.headDim, theta: Double(config.ropeTheta)),
            layers: layers,
            finalNorm: try weights.rmsNorm("output_norm", epsilon: config.normEpsilon),
            embedding: embedding,
            head: hasHead
                ? try weights.linear("output") : Linear(matrix: embedding, bias: nil))
    }

    /// All products with weights that one token takes.
    private var products: [Linear] {
        layers.flatMap {
            [$0.attention.query, $0.attention.key, $0.attention.value, $0.attention.output]
                + [$0.mlp.gate, $0.mlp.up, $0.mlp.down]
        } + [head]
    }

    /// What products with weights cost.
    var cost: DecodingCost {
        DecodingCost(
            weightBytes: products.reduce(0) { $0 + $1.weightBytes },
            layerOperations: products.dropLast().reduce(0) { $0 + 2 * $1.inputs * $1.outputs },
            headOperations: 2 * head.inputs * head.outputs)
    }
}

/// What the language model's products with weights cost.
public struct DecodingCost: Sendable {
    /// Bytes of weights that one decoding step reads.
    public let weightBytes: Int
    /// Multiplications and additions of one token in the decoder layers.
    public let layerOperations: Int
    /// The same in the head, which only rows need whose logits are wanted.
    public let headOperations: Int
}

extension ViTEncoder {
    /// The encoder layers of a vision tower, `v.blk.N`.
    init(weights: Weights, config: VisionTowerConfig) throws {
        hiddenSize = config.hiddenSize
        layers = try (0..<config.layers).map { index in
            let block = "v.blk.\(index)."
            return Layer(
                attentionNorm: try weights.norm(block + "ln1", epsilon: config.normEpsilon),
                attention: try weights.attention(
                    block + "attn", output: "_out", heads: config.heads, kvHeads: config.heads),
                mlpNorm: try weights.norm(block + "ln2", epsilon: config.normEpsilon),
                mlp: FeedForward(
                    up: try weights.linear(block + "ffn_up"),
                    down: try weights.linear(block + "ffn_down"),
                    activation: config.activation.kernel))
        }
    }
}
