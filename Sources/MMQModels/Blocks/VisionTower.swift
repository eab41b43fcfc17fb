import CSIMD

/// A vision tower: patch embedding, class token, positions, encoder layers. CLIP's has a norm in
/// front of the layers, EVA's has biases in the patch embedding.
struct VisionTower {
    let patchSize: Int
    let patchesPerSide: Int
    let patches: Int
    let encoder: ViTEncoder
    /// [hidden, 3 x patch x patch].
    private let patchEmbedding: Linear
    private let classEmbedding: UnsafePointer<Float>
    /// [1 + patches, hidden].
    private let positions: UnsafePointer<Float>
    private let preNorm: ViTEncoder.Norm?

    /// - Parameter hasPreNorm: whether `v.pre_ln` stands before the layers (CLIP).
    init(weights: Weights, config: VisionTowerConfig, hasPreNorm: Bool) throws {
        patchSize = config.patchSize
        patchesPerSide = config.patchesPerSide
        patches = config.patches
        encoder = try ViTEncoder(weights: weights, config: config)
        patchEmbedding = try weights.linear("v.patch_embd")
        classEmbedding = try weights.vector("v.class_embd")
        positions = try weights.vector("v.position_embd.weight")
        preNorm = hasPreNorm ? try weights.norm("v.pre_ln") : nil
    }

    /// Tokens of one picture: the class token and the patches.
    var tokens: Int { 1 + patches }

    /// What the first layer sees, [images, 1 + patches, hidden]: class and patch embeddings plus
    /// positions, normalized where the tower does so. In workspace memory (`.stream`).
    ///
    /// - Parameter pixels: [images, 3, side, side], side = patches per side x patch size.
    func embed(_ pixels: [Float], images: Int, workspace: Workspace) -> UnsafeMutablePointer<Float>
    {
        let hidden = encoder.hiddenSize
        let inputs = 3 * patchSize * patchSize
        precondition(pixels.count == images * patches * inputs, "pixels of another size")
        let columns = workspace.floats(.gate, images * patches * inputs)
        pixels.withUnsafeBufferPointer { unfold($0, images: images, to: columns) }
        workspace.stages?.did(.embedding)
        let embedded = workspace.floats(.delta, images * patches * hidden)
        patchEmbedding.apply(
            workspace.operand(columns, tokens: images * patches, cols: inputs), to: embedded)
        let x = workspace.floats(.stream, images * tokens * hidden)
        for image in 0..<images {
            let row = x + image * tokens * hidden
            row.update(from: classEmbedding, count: hidden)
            (row + hidden).update(
                from: embedded + image * patches * hidden, count: patches * hidden)
            csimd_add(row, positions, tokens * hidden)
        }
        if let preNorm {
            csimd_layer_norm(
                x, preNorm.weight, preNorm.bias, encoder.epsilon, x, images * tokens, hidden)
        }
        workspace.stages?.did(.embedding)
        return x
    }

    /// Cuts pictures into patches, [images x patches, 3 x patch x patch].
    private func unfold(
        _ source: UnsafeBufferPointer<Float>, images: Int, to target: UnsafeMutablePointer<Float>
    ) {
        guard let base = source.baseAddress else { return }
        let side = patchesPerSide * patchSize
        var to = target
        for image in 0..<images {
            for patchRow in 0..<patchesPerSide {
                for patchColumn in 0..<patchesPerSide {
                    for channel in 0..<3 {
                        let plane = (image * 3 + channel) * side
                        for row in 0..<patchSize {
                            let line = plane + patchRow * patchSize + row
                            to.update(
                                from: base + line * side + patchColumn * patchSize,
                                count: patchSize)
                            to += patchSize
                        }
                    }
                }
            }
        }
    }
}
