import CSIMD
import MMQImage

/// CLIP's vision tower: patch embedding, class token, positions, pre-norm, encoder layers.
struct CLIPTower {
    let patchSize: Int
    let patchesPerSide: Int
    let patches: Int
    let encoder: ViTEncoder
    /// [hidden, 3 x patch x patch].
    let patchEmbedding: Linear
    let classEmbedding: UnsafePointer<Float>
    /// [1 + patches, hidden].
    let positions: UnsafePointer<Float>
    let preNorm: ViTEncoder.Norm

    init(weights: Weights, config: VisionTowerConfig) throws {
        patchSize = config.patchSize
        patchesPerSide = config.patchesPerSide
        patches = config.patches
        encoder = try ViTEncoder(weights: weights, config: config)
        patchEmbedding = try weights.linear("v.patch_embd")
        classEmbedding = try weights.vector("v.class_embd")
        positions = try weights.vector("v.position_embd.weight")
        preNorm = try weights.norm("v.pre_ln")
    }

    /// The selected layer's features without the class token, [tiles, patches, hidden].
    ///
    /// - Parameters:
    ///   - layer: how many encoder layers the features have been through.
    ///   - runsAll: also run the layers behind it, whose output nobody uses: the study counts them.
    func features(
        _ tiling: TiledImage, layer: Int, sites: ModuleSites, runsAll: Bool, workspace: Workspace
    ) throws -> FloatBuffer {
        let hidden = encoder.hiddenSize
        let tokens = 1 + patches
        let x = workspace.floats(.stream, tiling.tiles * tokens * hidden)
        embed(tiling, to: x, workspace: workspace)
        let last = runsAll ? encoder.layers.count : layer
        let selected = FloatBuffer(count: tiling.tiles * patches * hidden)
        func select() {
            for tile in 0..<tiling.tiles {
                (selected.pointer + tile * patches * hidden).update(
                    from: x + (tile * tokens + 1) * hidden, count: patches * hidden)
            }
        }
        if layer == 0 { select() }
        try encoder.run(
            x, images: tiling.tiles, tokens: tokens, layers: 0..<last, sites: sites,
            workspace: workspace
        ) { if $0 + 1 == layer { select() } }
        return selected
    }

    /// x [tiles, 1 + patches, hidden]: class and patch embeddings plus positions, normalized.
    private func embed(
        _ tiling: TiledImage, to x: UnsafeMutablePointer<Float>, workspace: Workspace
    ) {
        let hidden = encoder.hiddenSize
        let tokens = 1 + patches
        let pixels = 3 * patchSize * patchSize
        let columns = workspace.floats(.gate, tiling.tiles * patches * pixels)
        tiling.pixelValues.withUnsafeBufferPointer { source in
            unfold(source, tiling: tiling, to: columns)
        }
        let embedded = workspace.floats(.delta, tiling.tiles * patches * hidden)
        patchEmbedding.apply(
            workspace.operand(columns, tokens: tiling.tiles * patches, cols: pixels), to: embedded)
        for tile in 0..<tiling.tiles {
            let row = x + tile * tokens * hidden
            row.update(from: classEmbedding, count: hidden)
            (row + hidden).update(
                from: embedded + tile * patches * hidden, count: patches * hidden)
            csimd_add(row, positions, tokens * hidden)
        }
        csimd_layer_norm(
            x, preNorm.weight, preNorm.bias, encoder.epsilon, x, tiling.tiles * tokens, hidden)
    }

    /// Cuts tiles into patches, [tiles x patches, 3 x patch x patch].
    private func unfold(
        _ source: UnsafeBufferPointer<Float>, tiling: TiledImage,
        to target: UnsafeMutablePointer<Float>
    ) {
        guard let base = source.baseAddress else { return }
        var to = target
        for tile in 0..<tiling.tiles {
            for patchRow in 0..<patchesPerSide {
                for patchColumn in 0..<patchesPerSide {
                    for channel in 0..<3 {
                        for row in 0..<patchSize {
                            let line = (tile * 3 + channel) * tiling.tileHeight + patchRow
                                * patchSize + row
                            to.update(
                                from: base + line * tiling.tileWidth + patchColumn * patchSize,
                                count: patchSize)
                            to += patchSize
                        }
                    }
                }
            }
        }
    }
}
