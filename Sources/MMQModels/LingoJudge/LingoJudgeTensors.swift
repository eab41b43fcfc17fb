/// A Lingo-Judge's tensors: one file holds them all.
extension TensorTable {
    /// The table of a judge.
    public init(_ config: LingoJudgeConfig) {
        self.init()
        let hidden = config.hiddenSize
        func name(_ tail: String) -> [String] { ["deberta." + tail] }
        add(
            "token_embd.weight", .judge, name("embeddings.word_embeddings.weight"),
            [config.vocabularySize, hidden], .embedding)
        if config.tokenTypes > 0 {
            add(
                "token_types.weight", .judge, name("embeddings.token_type_embeddings.weight"),
                [config.tokenTypes, hidden], .plain)
        }
        addLayer(
            "embd_ln", .judge, name("embeddings.LayerNorm"), outputs: hidden, inputs: nil)
        add(
            "rel_embd.weight", .judge, name("encoder.rel_embeddings.weight"),
            [2 * config.span, hidden], .plain)
        if config.normsPositions {
            addLayer("rel_ln", .judge, name("encoder.LayerNorm"), outputs: hidden, inputs: nil)
        }
        for layer in 0..<config.layers {
            func add(_ part: String, _ tail: String, _ outputs: Int, _ inputs: Int?) {
                addLayer(
                    "blk.\(layer).\(part)", .judge, name("encoder.layer.\(layer).\(tail)"),
                    outputs: outputs, inputs: inputs)
            }
            add("attn_q", "attention.self.query_proj", hidden, hidden)
            add("attn_k", "attention.self.key_proj", hidden, hidden)
            add("attn_v", "attention.self.value_proj", hidden, hidden)
            add("attn_out", "attention.output.dense", hidden, hidden)
            add("attn_ln", "attention.output.LayerNorm", hidden, nil)
            add("ffn_up", "intermediate.dense", config.ffnSize, hidden)
            add("ffn_down", "output.dense", hidden, config.ffnSize)
            add("ffn_ln", "output.LayerNorm", hidden, nil)
        }
        addLayer("pooler", .judge, ["pooler.dense"], outputs: hidden, inputs: hidden)
        add("classifier.weight", .judge, ["classifier.weight"], [1, hidden], .plain)
        add("classifier.bias", .judge, ["classifier.bias"], [1], .plain)
    }
}
