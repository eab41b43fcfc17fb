import MMQBase

extension LlavaNextImageConfig {
    /// Rows of tiles a grid is cut into, a rest counted as one.
    func tileRows(of grid: PixelSize) -> Int { (grid.height + tileSide - 1) / tileSide }

    /// Columns of tiles a grid is cut into, a rest counted as one.
    func tileColumns(of grid: PixelSize) -> Int { (grid.width + tileSide - 1) / tileSide }

    /// Checks what the processor relies on: settings may come from a file of any origin.
    func check() throws {
        guard !gridPinpoints.isEmpty else {
            throw wrong("image_grid_pinpoints", "at least one [height, width]", "none")
        }
        guard baseSize.isUsable else {
            throw wrong("size", PixelSize.usableSides, baseSize.description)
        }
        if let cropSize, !cropSize.isUsable {
            throw wrong("crop_size", PixelSize.usableSides, cropSize.description)
        }
        guard !cropsTiles || cropSize != nil else {
            throw wrong("crop_size", "a size, because do_center_crop is true", "none")
        }
        try normalization.check()
        for grid in gridPinpoints {
            guard grid.isUsable else {
                throw wrong("image_grid_pinpoints", PixelSize.usableSides, grid.description)
            }
            try check(grid)
        }
    }

    /// Checks what 4.41 takes for granted: grids of whole tiles (it joins features by how many fit
    /// in, and cuts a rest off as one more), and tiles at the edge of a canvas which lost a row or
    /// column that come out in one size too.
    func check(_ version: Compatibility) throws {
        guard version == .june2024 else { return }
        var isExact = false
        if resizesTiles, case .exact = size { isExact = true }
        guard cropsTiles || isExact else {
            throw wrong("do_center_crop", "true, for transformers 4.41's tiles", "false")
        }
        guard tileSide > 1 else {
            throw wrong("crop_size", "tiles of more than a pixel", "\(tileSide)")
        }
        for grid in gridPinpoints
        where grid.height % tileSide != 0 || grid.width % tileSide != 0 {
            throw wrong(
                "image_grid_pinpoints",
                "multiples of the tile's side \(tileSide), for transformers 4.41's features",
                "\(grid)")
        }
    }

    /// Checks that a grid's tiles come out in one size and in memory.
    private func check(_ grid: PixelSize) throws {
        let largest = RGBImage.maximumPixels
        let tiles = tileRows(of: grid) * tileColumns(of: grid) + 1
        guard outputSize.area <= largest / tiles, grid.area <= largest else {
            throw wrong(
                "image_grid_pinpoints", "at most \(largest) pixels in all tiles",
                "\(tiles) tiles of \(outputSize)")
        }
        // Most tiles are squares; at the lower and right edges there can be smaller ones.
        for height in Set([min(grid.height, tileSide), grid.height % tileSide]) where height > 0 {
            for width in Set([min(grid.width, tileSide), grid.width % tileSide]) where width > 0 {
                var size = PixelSize(height: height, width: width)
                if resizesTiles { size = self.size.resized(size) }
                // Only the crop brings tiles of different sizes to one.
                guard size.area <= largest, cropsTiles || size == outputSize else {
                    throw wrong(
                        "image_grid_pinpoints", "tiles of \(outputSize)", "a tile of \(size)")
                }
            }
        }
    }

    private func wrong(_ key: String, _ expected: String, _ found: String) -> InputError {
        InputError(
            .badValue, file: "picture settings", item: key, expected: expected, found: found)
    }
}
