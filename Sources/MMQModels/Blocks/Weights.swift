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

    /// `name.weight` and `name.bias` of a LayerNorm.
    func norm(_ name: String) throws -> ViTEncoder.Norm {
        ViTEncoder.Norm(
            weight: try vector(name + ".weight"), bias: try vector(name + ".bias"))
    }
}

extension LlamaDecoder {
    /// The decoder of a `llama` GGUF.
    convenience init(weights: Weights, config: LlamaConfig, hasHead: Bool) throws {
        let layers = try (0..<config.layers).map { index in
            let block = "blk.\(index)."
            return Layer(
                attentionNorm: try weights.vector(block + "attn_norm.weight"),
                query: try weights.linear(block + "attn_q"),
                key: try weights.linear(block + "attn_k"),
                value: try weights.linear(block + "attn_v"),
                output: try weights.linear(block + "attn_output"),
                mlpNorm: try weights.vector(block + "ffn_norm.weight"),
                mlp: GatedFeedForward(
                    gate: try weights.linear(block + "ffn_gate"),
                    up: try weights.linear(block + "ffn_up"),
                    down: try weights.linear(block + "ffn_down")))
        }
        let embedding = try weights.matrix("token_embd.weight")
        self.init(
            hiddenSize: config.hiddenSize, heads: config.heads, kvHeads: config.kvHeads,
            headDim: config.headDim, epsilon: config.normEpsilon,
            ropeTheta: Double(config.ropeTheta), layers: layers,
            finalNorm: try weights.vector("output_norm.weight"), embedding: embedding,
            head: hasHead
                ? try weights.linear("output") : Linear(matrix: embedding, bias: nil))
    }

    /// All products with weights that one token takes.
    private var products: [Linear] {
        layers.flatMap {
            [$0.query, $0.key, $0.value, $0.output, $0.mlp.gate, $0.mlp.up, $0.mlp.down]
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
        heads = config.heads
        epsilon = config.normEpsilon
        layers = try (0..<config.layers).map { index in
            let block = "v.blk.\(index)."
            return Layer(
                norm1: try weights.norm(block + "ln1"),
                query: try weights.linear(block + "attn_q"),
                key: try weights.linear(block + "attn_k"),
                value: try weights.linear(block + "attn_v"),
                output: try weights.linear(block + "attn_out"),
                norm2: try weights.norm(block + "ln2"),
                mlp: FeedForward(
                    up: try weights.linear(block + "ffn_up"),
                    down: try weights.linear(block + "ffn_down"),
                    activation: config.activation.kernel))
        }
    }
}
