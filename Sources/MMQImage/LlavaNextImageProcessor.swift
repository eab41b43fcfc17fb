/// A picture as LLaVA-Next's vision tower takes it.
public struct TiledImage: Sendable, Equatable {
    /// [tiles, 3, tileHeight, tileWidth], row-major. Tile 0 is the whole picture, squashed; then
    /// come the grid's tiles, row by row.
    public let pixelValues: [Float]
    /// Number of tiles: gridRows × gridColumns + 1.
    public let tiles: Int
    /// Rows of a tile.
    public let tileHeight: Int
    /// Columns of a tile.
    public let tileWidth: Int
    /// Rows of the picture before any resizing.
    public let originalHeight: Int
    /// Columns of the picture before any resizing.
    public let originalWidth: Int
    /// Rows of the grid, in tiles.
    public let gridRows: Int
    /// Columns of the grid, in tiles.
    public let gridColumns: Int
}

/// Turns pictures into tiles as transformers' `LlavaNextImageProcessor` does (its Pillow path).
public struct LlavaNextImageProcessor: Sendable {
    /// The settings.
    public let config: LlavaNextImageConfig
    private let tables: [[Float]]
    /// The longest side a picture may have for counting, so that no product overflows.
    private static let largestPicture = Int(Int32.max)

    /// A processor with the given settings.
    ///
    /// - Throws: ``ImageError`` if the settings cannot work: no grid, sides below 1, or tiles that
    ///   would not all come out in one size.
    public init(config: LlavaNextImageConfig) throws {
        try Self.check(config)
        self.config = config
        tables = config.normalization.tables()
    }
}

extension LlavaNextImageProcessor {
    /// Cuts a picture into tiles.
    ///
    /// - Throws: ``ImageError`` for a picture without pixels.
    public func process(_ image: RGBImage) throws -> TiledImage {
        try image.requirePixels()
        let original = PixelSize(height: image.height, width: image.width)
        let grid = bestResolution(for: original)
        let fitted = LlavaNextGeometry.fittedSize(of: original, in: grid)
        let canvas = image.resizedBicubic(width: fitted.width, height: fitted.height)
            .padded(to: grid)
        let base = image.resizedBicubic(
            width: config.baseSize.width, height: config.baseSize.height)
        let tiles = [base] + canvas.cut(intoSquaresOf: config.tileSide)
        let output = config.outputSize
        let planes = 3 * output.height * output.width
        let values = [Float](unsafeUninitializedCapacity: tiles.count * planes) { buffer, count in
            for (index, tile) in tiles.enumerated() {
                PixelNormalization.write(
                    finished(tile), through: tables,
                    to: UnsafeMutableBufferPointer(
                        rebasing: buffer[index * planes..<(index + 1) * planes]))
            }
            count = tiles.count * planes
        }
        return TiledImage(
            pixelValues: values, tiles: tiles.count, tileHeight: output.height,
            tileWidth: output.width, originalHeight: image.height, originalWidth: image.width,
            gridRows: Self.parts(grid.height, of: config.tileSide),
            gridColumns: Self.parts(grid.width, of: config.tileSide))
    }

    /// The number of image tokens of a picture, as transformers' `LlavaNextProcessor` inserts them
    /// into the prompt.
    ///
    /// - Parameters:
    ///   - width: columns of the picture before any resizing.
    ///   - height: rows of the picture before any resizing.
    ///   - patchSize: the vision tower's patch side in pixels.
    ///   - additionalTokens: `num_additional_image_tokens`: the tower's tokens besides patches.
    ///   - dropsFirstToken: whether `vision_feature_select_strategy` is `default` (not `full`).
    /// - Throws: ``ImageError`` for sizes below 1 or a patch larger than a tile.
    public func imageTokenCount(
        width: Int, height: Int, patchSize: Int, additionalTokens: Int, dropsFirstToken: Bool
    ) throws -> Int {
        let output = config.outputSize
        guard (1...Self.largestPicture).contains(width), (1...Self.largestPicture).contains(height),
            patchSize > 0, patchSize <= min(output.height, output.width)
        else {
            throw ImageError(
                .wrongValue, file: "picture settings", key: "patch_size",
                expected: "sides of 1 to \(Self.largestPicture), a patch not larger than a tile",
                found: "a picture of \(width) x \(height), patches of \(patchSize)")
        }
        let original = PixelSize(height: height, width: width)
        let grid = bestResolution(for: original)
        let rows = output.height / patchSize
        let columns = output.width / patchSize
        let range = LlavaNextGeometry.unpaddedFeatureRange(
            original: original, rows: rows * (grid.height / output.height),
            columns: columns * (grid.width / output.width))
        return rows * columns + additionalTokens + range.tokenCount - (dropsFirstToken ? 1 : 0)
    }

    private func bestResolution(for original: PixelSize) -> PixelSize {
        LlavaNextGeometry.bestResolution(for: original, of: config.gridPinpoints)
            ?? config.gridPinpoints[0]
    }

    /// Resizes and crops one tile, as the settings say.
    private func finished(_ tile: RGBImage) -> RGBImage {
        var tile = tile
        if config.resizesTiles {
            let size = resizedTileSize(PixelSize(height: tile.height, width: tile.width))
            tile = tile.resizedBicubic(width: size.width, height: size.height)
        }
        if config.cropsTiles, let crop = config.cropSize { tile = tile.centerCropped(to: crop) }
        return tile
    }

    private func resizedTileSize(_ tile: PixelSize) -> PixelSize {
        Self.resizedTileSize(tile, config.size)
    }

    /// Transformers' `get_resize_output_image_size`: the longer side is rounded down.
    private static func resizedTileSize(
        _ tile: PixelSize, _ size: LlavaNextImageConfig.TileResize
    ) -> PixelSize {
        switch size {
        case .exact(let size): return size
        case .shortestEdge(let edge):
            let short = min(tile.width, tile.height)
            let long = max(tile.width, tile.height)
            let scaled = Int(Double(edge * long) / Double(short))
            return tile.width <= tile.height
                ? PixelSize(height: scaled, width: edge) : PixelSize(height: edge, width: scaled)
        }
    }

    /// How many parts a side is cut into, a rest counted as one.
    private static func parts(_ side: Int, of part: Int) -> Int { (side + part - 1) / part }

    /// Checks what `process` relies on.
    private static func check(_ config: LlavaNextImageConfig) throws {
        func wrong(_ key: String, _ expected: String, _ found: String) -> ImageError {
            ImageError(
                .wrongValue, file: "picture settings", key: key, expected: expected, found: found)
        }
        guard !config.gridPinpoints.isEmpty else {
            throw wrong("image_grid_pinpoints", "at least one [height, width]", "none")
        }
        for size in config.gridPinpoints where !size.isUsable {
            throw wrong(
                "image_grid_pinpoints", PixelSize.usableSides, "\(size.height) x \(size.width)")
        }
        guard config.baseSize.isUsable else {
            throw wrong("size", PixelSize.usableSides, "\(config.size)")
        }
        if let crop = config.cropSize, !crop.isUsable {
            throw wrong("crop_size", PixelSize.usableSides, "\(crop.height) x \(crop.width)")
        }
        guard !config.cropsTiles || config.cropSize != nil else {
            throw wrong("crop_size", "a size, because do_center_crop is true", "none")
        }
        try config.normalization.check()
        // Without the crop, tiles come out in the size that the resize gives them (or keep their
        // own), and the network needs them all alike.
        guard !config.cropsTiles else { return }
        for grid in config.gridPinpoints {
            for height in Set([min(grid.height, config.tileSide), grid.height % config.tileSide])
            where height > 0 {
                for width in Set([min(grid.width, config.tileSide), grid.width % config.tileSide])
                where width > 0 {
                    var size = PixelSize(height: height, width: width)
                    if config.resizesTiles { size = resizedTileSize(size, config.size) }
                    guard size == config.outputSize else {
                        throw wrong(
                            "image_grid_pinpoints",
                            "tiles of \(config.outputSize.height) x \(config.outputSize.width)",
                            "a tile of \(size.height) x \(size.width)")
                    }
                }
            }
        }
    }
}
