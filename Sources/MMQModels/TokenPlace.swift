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

extension VisionLanguageModel {
    /// How the tokens of a module lie in a picture of that size; none where they have no place.
    ///
    /// - Parameters:
    ///   - module: the module's place in the model's list.
    ///   - rows: what `tokenRows` says of it.
    /// - Returns: the decoder's grids (see `pictureGrids`), else a grid for each tile.
    public func grids(
        of module: Int, rows: [TokenRow], width: Int, height: Int
    ) -> [PictureGrid] {
        guard modules[module] != decoderModule else {
            return pictureGrids(width: width, height: height, isImage: rows.map(\.isImage))
        }
        return tileGrids(width: width, height: height).enumerated().compactMap { tile, grid in
            func place(_ row: Int, _ column: Int) -> PicturePlace {
                PicturePlace(tile: Int32(tile), row: Int32(row), column: Int32(column))
            }
            guard let first = rows.firstIndex(where: { $0.place == place(0, 0) }) else {
                return nil
            }
            let last = first + grid.rows * grid.columns - 1
            guard last < rows.count, rows[last].place == place(grid.rows - 1, grid.columns - 1)
            else { return nil }
            return grid.beginning(at: first)
        }
    }
}

/// What the tokens of one picture and prompt are.
public struct TokenPlaces {
    private let model: any VisionLanguageModel
    /// [module][token].
    private let rows: [[TokenRow]]
    /// [module]: how its tokens lie in the picture.
    private let grids: [[PictureGrid]]

    /// - Parameters:
    ///   - width: the picture's.
    ///   - height: likewise.
    public init(
        _ input: PreparedInput, of model: any VisionLanguageModel, width: Int, height: Int
    ) {
        self.model = model
        let rows = model.modules.indices.map { model.tokenRows(of: $0, in: input) }
        self.rows = rows
        grids = rows.indices.map {
            model.grids(of: $0, rows: rows[$0], width: width, height: height)
        }
    }

    private func number(_ name: String) -> Int? {
        model.modules.firstIndex { $0.name == name }
    }

    /// What one of the tokens is that a module sees; nil if it sees no such.
    ///
    /// - Parameters:
    ///   - module: the module's name.
    ///   - token: from 0.
    public func place(module name: String, token: Int) -> TokenPlace? {
        guard let module = number(name) else { return nil }
        var place = TokenPlace()
        let isDecoder = name == model.decoderModule.name
        guard rows[module].indices.contains(token) else { return isDecoder ? nil : place }
        let row = rows[module][token]
        place.word = word(row, module)
        if isDecoder {
            for grid in grids[module] {
                guard let patch = grid.patch(at: token) else { continue }
                (place.grid, place.row, place.column) = (grid.name, patch.row, patch.column)
            }
        } else if row.place.row >= 0 {
            (place.tile, place.row, place.column) =
                (Int(row.place.tile), Int(row.place.row), Int(row.place.column))
        }
        return place
    }

    /// Where one of the tokens lies in the picture; nil for what has no place in it, as a patch of
    /// the padding.
    public func box(module name: String, token: Int) -> PictureBox? {
        guard let module = number(name) else { return nil }
        for grid in grids[module] {
            guard let patch = grid.patch(at: token) else { continue }
            return grid.box(row: patch.row, column: patch.column)
        }
        return nil
    }

    /// The words before and after one of the tokens, as the vocabulary spells them, as far as the
    /// text goes: the picture ends it.
    ///
    /// - Parameter reach: how many words of either side.
    public func words(
        around token: Int, module name: String, reach: Int
    ) -> (before: [String], after: [String]) {
        guard let module = number(name), rows[module].indices.contains(token) else {
            return ([], [])
        }
        let rows = rows[module]
        func words(_ tokens: [Int]) -> [String] {
            tokens.prefix(reach).map { word(rows[$0], module) }
                .prefix { $0 != nil }.compactMap { $0 }
        }
        return (
            words((0..<token).suffix(reach).reversed()).reversed(),
            words(Array((token + 1..<rows.count).prefix(reach)))
        )
    }

    /// The word that a token is, if it is one.
    private func word(_ row: TokenRow, _ module: Int) -> String? {
        guard !row.isImage, row.token >= 0 else { return nil }
        let isDecoder = model.modules[module] == model.decoderModule
        let piece =
            isDecoder ? model.tokenizer.piece(row.token) : model.towerTokenizer?.piece(row.token)
        return piece.map { String(decoding: $0, as: UTF8.self) }
    }
}
