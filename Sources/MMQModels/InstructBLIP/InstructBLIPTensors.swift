/// InstructBLIP's tensors: the decoder, the EVA tower, the Q-Former (text and query branch), the
/// query embeddings and the projection into the decoder.
///
/// The tower's fused query-key-value layer is stored as three tensors, so that both towers look
/// alike to the encoder. Checkpoint names are the same in the hub's files and in those that
/// transformers 5 writes.
extension TensorTable {
    /// The table of an InstructBLIP model.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; by default as the
    ///   configuration says.
    public init(_ config: InstructBLIPConfig, hasHead: Bool? = nil) {
        self.init()
        addLlama(
            config.text, prefixes: ["language_model.model."],
            heads: ["language_model.lm_head.weight"], hasHead: hasHead ?? !config.text.tiedHead)
        addTower(config)
        addQFormer(config)
    }

    private mutating func addTower(_ config: InstructBLIPConfig) {
        let vision = config.vision
        let hidden = vision.hiddenSize
        func name(_ tail: String) -> [String] { ["vision_model." + tail] }
        add(
            "v.class_embd", .vision, name("embeddings.class_embedding"), [hidden], .plain,
            sourceShape: [1, 1, hidden])
        add(
            "v.patch_embd.weight", .vision, name("embeddings.patch_embedding.weight"),
            [hidden, 3, vision.patchSize, vision.patchSize], .kernel)
        add(
            "v.patch_embd.bias", .vision, name("embeddings.patch_embedding.bias"), [hidden], .plain)
        add(
            "v.position_embd.weight", .vision, name("embeddings.position_embedding"),
            [vision.tokens, hidden], .plain, sourceShape: [1, vision.tokens, hidden])
        for layer in 0..<vision.layers {
            let block = "v.blk.\(layer)."
            func source(_ tail: String) -> [String] { name("encoder.layers.\(layer).\(tail)") }
            addLayer(
                block + "ln1", .vision, source("layer_norm1"), outputs: hidden, inputs: nil)
            for (index, part) in ["attn_q", "attn_k", "attn_v"].enumerated() {
                let rows = index * hidden..<(index + 1) * hidden
                add(
                    block + part + ".weight", .vision, source("self_attn.qkv.weight"),
                    [hidden, hidden], .matrix, sourceShape: [3 * hidden, hidden], sourceRows: rows)
                if config.visionQKVBias {
                    add(
                        block + part + ".bias", .vision, source("self_attn.qkv.bias"), [hidden],
                        .plain, sourceShape: [3 * hidden], sourceRows: rows)
                }
            }
            addLayer(
                block + "attn_out", .vision, source("self_attn.projection"), outputs: hidden,
                inputs: hidden)
            addLayer(block + "ln2", .vision, source("layer_norm2"), outputs: hidden, inputs: nil)
            addLayer(
                block + "ffn_up", .vision, source("mlp.fc1"), outputs: vision.ffnSize,
                inputs: hidden)
            addLayer(
                block + "ffn_down", .vision, source("mlp.fc2"), outputs: hidden,
                inputs: vision.ffnSize)
        }
        addLayer("v.post_ln", .vision, name("post_layernorm"), outputs: hidden, inputs: nil)
    }

    private mutating func addQFormer(_ config: InstructBLIPConfig) {
        let qformer = config.qformer
        let hidden = qformer.hiddenSize
        add(
            "q.query_embd", .vision, ["query_tokens"], [config.queryTokens, hidden], .plain,
            sourceShape: [1, config.queryTokens, hidden])
        add(
            "q.token_embd.weight", .vision, ["qformer.embeddings.word_embeddings.weight"],
            [qformer.vocabularySize, hidden], .plain)
        add(
            "q.position_embd.weight", .vision, ["qformer.embeddings.position_embeddings.weight"],
            [qformer.contextLength, hidden], .plain)
        addLayer(
            "q.embd_ln", .vision, ["qformer.embeddings.layernorm"], outputs: hidden, inputs: nil)
        for layer in 0..<qformer.layers {
            func add(_ name: String, _ tail: String, _ outputs: Int, _ inputs: Int?) {
                addLayer(
                    "q.blk.\(layer).\(name)", .vision, ["qformer.encoder.layer.\(layer).\(tail)"],
                    outputs: outputs, inputs: inputs)
            }
            func addAttention(_ prefix: String, _ source: String, memory: Int) {
                add(prefix + "_q", source + ".attention.query", hidden, hidden)
                add(prefix + "_k", source + ".attention.key", hidden, memory)
                add(prefix + "_v", source + ".attention.value", hidden, memory)
                add(prefix + "_out", source + ".output.dense", hidden, hidden)
                add(prefix + "_ln", source + ".output.LayerNorm", hidden, nil)
            }
            addAttention("attn", "attention", memory: hidden)
            if qformer.hasCrossAttention(layer) {
                addAttention("cross_attn", "crossattention", memory: config.vision.hiddenSize)
            }
            // The text branch, then the query branch.
            for (prefix, suffix) in [("ffn", ""), ("query_ffn", "_query")] {
                add(prefix + "_up", "intermediate\(suffix).dense", qformer.ffnSize, hidden)
                add(prefix + "_down", "output\(suffix).dense", hidden, qformer.ffnSize)
                add(prefix + "_ln", "output\(suffix).LayerNorm", hidden, nil)
            }
        }
        addLayer(
            "mm.0", .vision, ["language_projection"], outputs: config.text.hiddenSize,
            inputs: hidden)
    }
}
