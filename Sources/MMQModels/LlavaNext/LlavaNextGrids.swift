import MMQImage

extension LlavaNextConfig {
    /// The grids of a picture: the whole of it squashed into one tile, then the larger grid of tiles
    /// with its padding cut off and a position without a place (`image_newline`) at the end of each
    /// row.
    ///
    /// - Parameters:
    ///   - settings: the picture processor's.
    ///   - side: patches to a side of a tile.
    ///   - isImage: which positions hold image tokens.
    ///   - version: whose features; where a grid's axes are swapped its positions have no place.
    static func grids(
        settings: LlavaNextImageConfig, side: Int, width: Int, height: Int, isImage: [Bool],
        as version: Compatibility = .current
    ) -> [PictureGrid] {
        let original = PixelSize(height: height, width: width)
        let tile = settings.tileSide
        guard tile > 0, side > 0, let first = isImage.firstIndex(of: true),
            let grid = LlavaNextGeometry.bestResolution(for: original, of: settings.gridPinpoints)
        else { return [] }
        let overview = PictureGrid(squashed: "overview", side: side, first: first)
        guard grid.height == grid.width || version == .current else { return [overview] }
        let rows = (grid.height + tile - 1) / tile * side
        let columns = (grid.width + tile - 1) / tile * side
        let kept = LlavaNextGeometry.unpaddedFeatureRange(
            original: original, rows: rows, columns: columns, as: version)
        // Image positions are one run; anything else is not what this describes.
        let count = side * side + kept.tokenCount
        guard isImage.count(where: { $0 }) == count, first + count <= isImage.count,
            isImage[first..<first + count].allSatisfy({ $0 })
        else { return [] }
        let details = Laid(original, on: grid, patch: Double(tile) / Double(side)).grid(
            "tiles", rows: kept.rows, columns: kept.columns, first: first + side * side,
            hasRowEnds: true)
        return details.rows > 0 && details.columns > 0 ? [details, overview] : [overview]
    }

    /// The grids of the tiles as the tower takes them, padding included: the whole picture squashed,
    /// then the tiles row by row. (Where 4.41 leaves out a row or column of padding, the last
    /// tile is a pixel smaller than said.)
    static func tileGrids(
        settings: LlavaNextImageConfig, side: Int, width: Int, height: Int
    ) -> [PictureGrid] {
        let original = PixelSize(height: height, width: width)
        let tile = settings.tileSide
        guard tile > 0, side > 0, width > 0, height > 0,
            let grid = LlavaNextGeometry.bestResolution(for: original, of: settings.gridPinpoints)
        else { return [] }
        let laid = Laid(original, on: grid, patch: Double(tile) / Double(side))
        let across = (grid.width + tile - 1) / tile
        let tiles = (0..<(grid.height + tile - 1) / tile * across).map { number in
            let (row, column) = (number / across * side, number % across * side)
            return laid.grid(
                "tile \(number + 1)", rows: row..<row + side, columns: column..<column + side,
                first: 0, hasRowEnds: false)
        }
        return [PictureGrid(squashed: "overview", side: side)] + tiles
    }

    /// A picture in the middle of a grid's pixels.
    private struct Laid {
        let fitted: PixelSize
        let left: Double
        let top: Double
        /// The side of a patch in pixels.
        let patch: Double

        init(_ picture: PixelSize, on grid: PixelSize, patch: Double) {
            fitted = LlavaNextGeometry.fittedSize(of: picture, in: grid)
            left = Double((grid.width - fitted.width) / 2)
            top = Double((grid.height - fitted.height) / 2)
            self.patch = patch
        }

        /// Some of the grid's patches.
        func grid(
            _ name: String, rows: Range<Int>, columns: Range<Int>, first: Int, hasRowEnds: Bool
        ) -> PictureGrid {
            PictureGrid(
                name: name, rows: rows.count, columns: columns.count, first: first,
                hasRowEnds: hasRowEnds,
                x: (Double(columns.lowerBound) * patch - left) / Double(fitted.width),
                y: (Double(rows.lowerBound) * patch - top) / Double(fitted.height),
                cellWidth: patch / Double(fitted.width), cellHeight: patch / Double(fitted.height))
        }
    }
}
