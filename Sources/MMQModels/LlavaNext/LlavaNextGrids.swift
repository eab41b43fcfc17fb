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
        let fitted = LlavaNextGeometry.fittedSize(of: original, in: grid)
        let overview = PictureGrid(
            name: "overview", rows: side, columns: side, first: first, hasRowEnds: false, x: 0,
            y: 0, cellWidth: 1 / Double(side), cellHeight: 1 / Double(side))
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
        // Where the patches lie: the picture is in the middle of the grid's pixels.
        let patch = Double(tile) / Double(side)
        let left = Double((grid.width - fitted.width) / 2)
        let top = Double((grid.height - fitted.height) / 2)
        let details = PictureGrid(
            name: "tiles", rows: kept.rows.count, columns: kept.columns.count,
            first: first + side * side, hasRowEnds: true,
            x: (Double(kept.columns.lowerBound) * patch - left) / Double(fitted.width),
            y: (Double(kept.rows.lowerBound) * patch - top) / Double(fitted.height),
            cellWidth: patch / Double(fitted.width), cellHeight: patch / Double(fitted.height))
        return details.rows > 0 && details.columns > 0 ? [details, overview] : [overview]
    }
}
