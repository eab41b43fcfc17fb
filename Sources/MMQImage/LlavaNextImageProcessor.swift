import MMQBase

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
    /// Rows of the grid, in tiles, as their features are joined.
    public let gridRows: Int
    /// Columns of the grid, in tiles, as their features are joined.
    public let gridColumns: Int
}

/// Turns pictures into tiles as transformers' `LlavaNextImageProcessor` does (its Pillow path).
public struct LlavaNextImageProcessor: Sendable {
    /// The settings.
    public let config: LlavaNextImageConfig
    private let tables: [[Float]]
    /// Which transformers' tiles these are.
    public let version: Compatibility
    /// The longest side a picture may have for counting, so that no product overflows.
    private static let largestPicture = Int(Int32.max)

    /// A processor with the given settings.
    ///
    /// - Throws: ``InputError`` if the settings cannot work: no grid, sides below 1, or tiles that
    ///   would not all come out in one size.
    public init(config: LlavaNextImageConfig, as version: Compatibility = .current) throws {
        try config.check()
        try config.check(version)
        self.config = config
        self.version = version
        tables = config.normalization.tables()
    }
}

extension LlavaNextImageProcessor {
    /// Cuts a picture into tiles.
    ///
    /// - Throws: ``InputError`` for a picture without pixels.
    public func process(_ image: RGBImage) throws -> TiledImage {
        try image.size.requirePixels()
        let original = PixelSize(height: image.height, width: image.width)
        let grid = bestResolution(for: original)
        let fitted = LlavaNextGeometry.fittedSize(of: original, in: grid)
        let canvas = image.resizedBicubic(
            width: fitted.width, height: fitted.height, as: version
        ).padded(to: version.canvas(of: fitted, in: grid))
        let base = image.resizedBicubic(
            width: config.baseSize.width, height: config.baseSize.height, as: version)
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
        let joined = joinedGrid(
            rows: config.tileRows(of: grid), columns: config.tileColumns(of: grid))
        return TiledImage(
            pixelValues: values, tiles: tiles.count, tileHeight: output.height,
            tileWidth: output.width, originalHeight: image.height, originalWidth: image.width,
            gridRows: joined.rows, gridColumns: joined.columns)
    }

    /// A grid of tiles as the model joins their features.
    private func joinedGrid(rows: Int, columns: Int) -> (rows: Int, columns: Int) {
        version.swapsGrids ? (columns, rows) : (rows, columns)
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
    /// - Throws: ``InputError`` for sizes below 1, or a patch or a tile larger than what it is part of.
    public func imageTokenCount(
        width: Int, height: Int, patchSize: Int, additionalTokens: Int, dropsFirstToken: Bool
    ) throws -> Int {
        let output = config.outputSize
        guard (1...Self.largestPicture).contains(width), (1...Self.largestPicture).contains(height),
            patchSize > 0, patchSize <= min(output.height, output.width)
        else {
            throw InputError(
                .badValue, file: "picture settings", item: "patch_size",
                expected: "sides of 1 to \(Self.largestPicture), a patch not larger than a tile",
                found: "a picture of \(width) x \(height), patches of \(patchSize)")
        }
        let original = PixelSize(height: height, width: width)
        let grid = bestResolution(for: original)
        guard grid.height >= output.height && grid.width >= output.width else {
            throw InputError(
                .badValue, file: "picture settings", item: "image_grid_pinpoints",
                expected: "grids not smaller than a tile, \(output)", found: "\(grid)")
        }
        let rows = output.height / patchSize
        let columns = output.width / patchSize
        let joined = joinedGrid(
            rows: grid.height / output.height, columns: grid.width / output.width)
        let range = LlavaNextGeometry.unpaddedFeatureRange(
            original: original, rows: rows * joined.rows, columns: columns * joined.columns,
            as: version)
        return rows * columns + additionalTokens + range.tokenCount - (dropsFirstToken ? 1 : 0)
    }

    /// The number of tiles that a picture is cut into, the whole picture's included.
    public func tileCount(of size: PixelSize) -> Int {
        let grid = bestResolution(for: size)
        return config.tileRows(of: grid) * config.tileColumns(of: grid) + 1
    }

    private func bestResolution(for original: PixelSize) -> PixelSize {
        LlavaNextGeometry.bestResolution(for: original, of: config.gridPinpoints)
            ?? config.gridPinpoints[0]
    }

    /// Resizes and crops one tile, as the settings say.
    private func finished(_ tile: RGBImage) -> RGBImage {
        tile.resized(
            config.resizesTiles ? config.size : nil,
            croppedTo: config.cropsTiles ? config.cropSize : nil, as: version)
    }
}
