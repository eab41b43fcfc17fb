/// LLaVA-Next's tensors: the decoder, the CLIP tower (all layers, also those after the feature
/// layer, which are counted), the projector and the newline embedding.
///
/// Checkpoint names: those of the hub's files (`language_model.model.layers.0...`,
/// `vision_tower.vision_model.encoder...`), and those that transformers 4.5x and 5 write
/// (`vision_tower.encoder...`, `model.language_model.layers.0...`, `lm_head.weight`, ...).
extension TensorTable {
    /// The table of a LLaVA-Next model.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; by default as the
    ///   configuration says. (A checkpoint may store a head although it says "tied": transformers
    ///   then uses what is stored.)
    public init(_ config: LlavaNextConfig, hasHead: Bool? = nil) {
        self.init()
        addLlama(
            config.text, prefixes: ["language_model.model.", "model.language_model."],
            heads: ["language_model.lm_head.weight", "lm_head.weight"],
            hasHead: hasHead ?? !config.text.tiedHead)
        addTower(config.vision)
        addProjector(config)
    }

    private mutating func addTower(_ vision: VisionTowerConfig) {
        func names(_ tail: String) -> [String] {
            [
                "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.",
                "model.vision_tower.vision_model.",
            ].map { $0 + tail }
        }
        let hidden = vision.hiddenSize
        add("v.class_embd", .vision, names("embeddings.class_embedding"), [hidden], .plain)
        add(
            "v.patch_embd.weight", .vision, names("embeddings.patch_embedding.weight"),
            [hidden, 3, vision.patchSize, vision.patchSize], .kernel)
        add(
            "v.position_embd.weight", .vision, names("embeddings.position_embedding.weight"),
            [vision.tokens, hidden], .plain)
        addLayer("v.pre_ln", .vision, names("pre_layrnorm"), outputs: hidden, inputs: nil)
        for layer in 0..<vision.layers {
            func add(_ name: String, _ tail: String, _ outputs: Int, _ inputs: Int?) {
                addLayer(
                    "v.blk.\(layer).\(name)", .vision, names("encoder.layers.\(layer).\(tail)"),
                    outputs: outputs, inputs: inputs)
            }
            add("ln1", "layer_norm1", hidden, nil)
            add("attn_q", "self_attn.q_proj", hidden, hidden)
            add("attn_k", "self_attn.k_proj", hidden, hidden)
            add("attn_v", "self_attn.v_proj", hidden, hidden)
            add("attn_out", "self_attn.out_proj", hidden, hidden)
            add("ln2", "layer_norm2", hidden, nil)
            add("ffn_up", "mlp.fc1", vision.ffnSize, hidden)
            add("ffn_down", "mlp.fc2", hidden, vision.ffnSize)
        }
        addLayer("v.post_ln", .vision, names("post_layernorm"), outputs: hidden, inputs: nil)
    }

    private mutating func addProjector(_ config: LlavaNextConfig) {
        func names(_ tail: String) -> [String] { [tail, "model." + tail] }
        let hidden = config.text.hiddenSize
        addLayer(
            "mm.0", .vision, names("multi_modal_projector.linear_1"), outputs: hidden,
            inputs: config.vision.hiddenSize, bias: config.projectorBias)
        addLayer(
            "mm.2", .vision, names("multi_modal_projector.linear_2"), outputs: hidden,
            inputs: hidden, bias: config.projectorBias)
        add("model.image_newline", .vision, names("image_newline"), [hidden], .plain)
    }
}
