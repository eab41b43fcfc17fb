/// The tensors of every LLaVA model: the decoder, the CLIP tower (all layers, also those after the
/// feature layer, which are counted) and the projector.
///
/// Checkpoint names: those of the hub's files (`language_model.model.layers.0...`,
/// `vision_tower.vision_model.encoder...`), and those that transformers 4.5x and 5 write
/// (`vision_tower.encoder...`, `model.language_model.layers.0...`, `lm_head.weight`, ...).
extension TensorTable {
    /// The table of such a model.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; by default as the
    ///   configuration says. (A checkpoint may store a head although it says "tied": transformers
    ///   then uses what is stored.)
    init(_ config: LlavaCore, hasHead: Bool?) {
        self.init()
        addLlama(
            config.text, prefixes: ["language_model.model.", "model.language_model."],
            heads: ["language_model.lm_head.weight", "lm_head.weight"],
            hasHead: hasHead ?? !config.text.tiedHead)
        addCLIPTower(
            config.vision,
            prefixes: [
                "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.",
                "model.vision_tower.vision_model.",
            ])
        func names(_ tail: String) -> [String] { [tail, "model." + tail] }
        let hidden = config.text.hiddenSize
        addLayer(
            "mm.0", .vision, names("multi_modal_projector.linear_1"), outputs: hidden,
            inputs: config.vision.hiddenSize, bias: config.projectorBias)
        addLayer(
            "mm.2", .vision, names("multi_modal_projector.linear_2"), outputs: hidden,
            inputs: hidden, bias: config.projectorBias)
    }
}
