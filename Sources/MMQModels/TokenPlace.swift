/// A patch of a tile that a tower saw.
public struct TilePatch: Sendable, Equatable {
    /// Which of the picture's tiles, in the order in which the tower sees them.
    public let tile: Int
    /// The patch's row in the tile.
    public let row: Int
    /// The patch's column in the tile.
    public let column: Int
}

/// What one of the tokens is that a module sees.
public struct TokenPlace: Sendable, Equatable, Codable {
    /// A word of the prompt, as the vocabulary spells it; nil for what is none.
    public var word: String?
    /// The tile, of a tower's or a projector's token.
    public var tile: Int?
    /// The name of the grid that the patch lies in, of the decoder's token: see ``PictureGrid``.
    public var grid: String?
    /// The patch's row in tile or grid; nil for what is no patch.
    public var row: Int?
    /// The patch's column there.
    public var column: Int?
}

extension VisionTower {
    /// The patch that a token is, of tiles of `count` tokens: what stands before the patches, a class
    /// token, is none.
    func patch(of token: Int, perTile count: Int) -> TilePatch? {
        let (tile, index) = token.quotientAndRemainder(dividingBy: count)
        let patch = index - (count - patches)
        guard patch >= 0 else { return nil }
        return TilePatch(tile: tile, row: patch / patchesPerSide, column: patch % patchesPerSide)
    }
}

extension PictureGrid {
    /// The patch at a position of the sequence; nil outside of the grid, and at the end of a row.
    public func patch(at position: Int) -> (row: Int, column: Int)? {
        let width = columns + (hasRowEnds ? 1 : 0)
        let (row, column) = (position - first).quotientAndRemainder(dividingBy: width)
        guard position >= first, row < rows, column < columns else { return nil }
        return (row, column)
    }
}

/// What the tokens of one picture and prompt are.
public struct TokenPlaces {
    private let model: any VisionLanguageModel
    private let ids: [Int32]
    private let grids: [PictureGrid]

    /// - Parameters:
    ///   - width: the picture's.
    ///   - height: likewise.
    public init(
        _ input: PreparedInput, of model: any VisionLanguageModel, width: Int, height: Int
    ) {
        self.model = model
        ids = input.inputIDs
        grids = model.pictureGrids(
            width: width, height: height, isImage: model.imagePositions(input))
    }

    /// What one of the tokens is that a module sees; nil if it sees no such.
    ///
    /// - Parameters:
    ///   - module: the module's name.
    ///   - token: from 0.
    public func place(module name: String, token: Int) -> TokenPlace? {
        var place = TokenPlace()
        guard let module = model.modules.firstIndex(where: { $0.name == name }) else { return nil }
        guard name == model.decoderModule.name else {
            guard let patch = model.tilePatch(module: module, token: token) else { return place }
            (place.tile, place.row, place.column) = (patch.tile, patch.row, patch.column)
            return place
        }
        guard ids.indices.contains(token) else { return nil }
        guard ids[token] == model.imageToken else {
            place.word = model.tokenizer.piece(ids[token]).map {
                String(decoding: $0, as: UTF8.self)
            }
            return place
        }
        for grid in grids {
            guard let patch = grid.patch(at: token) else { continue }
            (place.grid, place.row, place.column) = (grid.name, patch.row, patch.column)
        }
        return place
    }
}
