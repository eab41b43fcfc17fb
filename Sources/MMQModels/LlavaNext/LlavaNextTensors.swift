/// LLaVA-Next's tensors: those of every LLaVA model, and the newline embedding.
extension TensorTable {
    /// The table of a LLaVA-Next model.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; by default as the
    ///   configuration says.
    public init(_ config: LlavaNextConfig, hasHead: Bool? = nil) {
        self.init(config.core, hasHead: hasHead)
        add(
            "model.image_newline", .vision, ["image_newline", "model.image_newline"],
            [config.text.hiddenSize], .plain)
    }
}
