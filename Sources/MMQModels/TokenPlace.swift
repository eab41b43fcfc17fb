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
    private let input: PreparedInput
    private let grids: [PictureGrid]

    /// - Parameters:
    ///   - width: the picture's.
    ///   - height: likewise.
    public init(
        _ input: PreparedInput, of model: any VisionLanguageModel, width: Int, height: Int
    ) {
        self.model = model
        self.input = input
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
            let rows = model.tokenRows(of: module, in: input)
            guard rows.indices.contains(token), rows[token].place.row >= 0 else { return place }
            let patch = rows[token].place
            (place.tile, place.row, place.column) =
                (Int(patch.tile), Int(patch.row), Int(patch.column))
            return place
        }
        let ids = input.inputIDs
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
