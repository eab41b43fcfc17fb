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
    private let preNorm: Norm?

    /// - Parameter hasPreNorm: whether `v.pre_ln` stands before the layers (CLIP).
    init(weights: Weights, config: VisionTowerConfig, hasPreNorm: Bool) throws {
        patchSize = config.patchSize
        patchesPerSide = config.patchesPerSide
        patches = config.patches
        encoder = try ViTEncoder(weights: weights, config: config)
        patchEmbedding = try weights.linear("v.patch_embd")
        classEmbedding = try weights.vector("v.class_embd")
        positions = try weights.vector("v.position_embd.weight")
        preNorm = hasPreNorm ? try weights.norm("v.pre_ln", epsilon: config.normEpsilon) : nil
    }

    /// Tokens of one picture: the class token and the patches.
    var tokens: Int { 1 + patches }

    /// Where the tokens of tiles lie: of each the class token, unless it is left out, then the patches.
    func places(tiles: Int, withClass: Bool = true) -> [PicturePlace] {
        let side = Int32(patchesPerSide)
        return (0..<Int32(tiles)).flatMap { tile in
            (withClass ? [PicturePlace(tile: tile)] : [])
                + (0..<side * side).map {
                    PicturePlace(tile: tile, row: $0 / side, column: $0 % side)
                }
        }
    }

    /// What the first layer sees, [images x (1 + patches), hidden]: class and patch embeddings plus
    /// positions, normalized where the tower does so; in `.stream`.
    ///
    /// - Parameter pixels: [images, 3, side, side], side = patches per side x patch size.
    func embed(_ pixels: [Float], images: Int, _ pass: Pass) -> Rows {
        let hidden = encoder.hiddenSize
        let columns = pass.rows(.gate, images * patches, patchEmbedding.inputs)
        precondition(pixels.count == columns.size, "pixels of another size")
        pixels.withUnsafeBufferPointer { unfold($0, images: images, to: columns.data) }
        pass.did(.embedding)
        let embedded = patchEmbedding.apply(pass.operand(columns), in: .delta)
        let x = pass.rows(.stream, images * tokens, hidden)
        for image in 0..<images {
            let row = image * tokens
            x[row].update(from: classEmbedding, count: hidden)
            x[row + 1].update(from: embedded[image * patches], count: patches * hidden)
            csimd_add(x[row], positions, tokens * hidden)
        }
        pass.did(.embedding)
        preNorm?.apply(x, to: x, pass)
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
