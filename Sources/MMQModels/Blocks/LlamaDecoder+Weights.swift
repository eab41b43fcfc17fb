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
            layerOperations: ProductOperations(of: products.dropLast()),
            headOperations: ProductOperations(of: [head]),
            positionBytes: layers.count * kvHeads * rotary.headDim * KVCache.valueBytes)
    }
}

/// Multiplications and additions of products with weights, by what they are computed in.
public struct ProductOperations: Sendable {
    /// Those of products that take their activations in integers.
    public private(set) var integers = 0
    /// Those of the others, in f32.
    public private(set) var floats = 0

    /// Both together.
    public var all: Int { integers + floats }

    /// One token's, through all of them.
    init(of products: some Sequence<Linear>) {
        for product in products {
            let operations = 2 * product.inputs * product.outputs
            if product.takesIntegers { integers += operations } else { floats += operations }
        }
    }

    /// Of as many tokens.
    public static func * (operations: ProductOperations, tokens: Int) -> ProductOperations {
        var all = operations
        all.integers *= tokens
        all.floats *= tokens
        return all
    }

    /// Those of both.
    public static func + (some: ProductOperations, others: ProductOperations) -> ProductOperations {
        var all = some
        all.integers += others.integers
        all.floats += others.floats
        return all
    }
}

/// What the language model's products with weights cost.
public struct DecodingCost: Sendable {
    /// Bytes of weights that one decoding step reads.
    public let weightBytes: Int
    /// Multiplications and additions of one token in the decoder layers.
    public let layerOperations: ProductOperations
    /// The same in the head, which only rows need whose logits are wanted.
    public let headOperations: ProductOperations
    /// Bytes of keys and values that a step reads for every position in front of it.
    public let positionBytes: Int

    /// Bytes that `tokens` steps of `sequences` answers behind `prompt` tokens read: the weights once
    /// a step, keys and values of every position seen by every answer.
    public func bytes(tokens: Int, behind prompt: Int, sequences: Int) -> Int {
        let seen = tokens * prompt + tokens * (tokens + 1) / 2
        return weightBytes * tokens + positionBytes * seen * sequences
    }
}
