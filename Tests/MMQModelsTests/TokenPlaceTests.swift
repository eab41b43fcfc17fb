import MMQImage
import MMQModels
import Support
import Testing

/// What the tokens are that modules see.
@Suite struct TokenPlaceTests {
    /// The first of the golden's cases, as the model takes it.
    private static func first(_ golden: GoldenModel, _ model: any VisionLanguageModel) throws -> (
        GoldenModel.Case, PreparedInput, TokenPlaces
    ) {
        let item = try #require(try golden.cases().first)
        let input = try model.prepare(image: item.image, prompt: item.prompt)
        return (
            item, input,
            TokenPlaces(input, of: model, width: item.image.width, height: item.image.height)
        )
    }

    /// Every image token has one place at most, and rows of patches follow each other.
    @Test(arguments: [GoldenModel.llava, .blip, .llava15]) func tokensHaveTheirPlaces(
        _ golden: GoldenModel
    ) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let (item, input, places) = try Self.first(golden, model)
        let isImage = model.imagePositions(input)
        let grids = model.pictureGrids(
            width: item.image.width, height: item.image.height, isImage: isImage)
        let decoder = model.decoderModule.name
        var patches: [String: [[Int]]] = [:]
        for (token, image) in isImage.enumerated() {
            let place = try #require(places.place(module: decoder, token: token))
            #expect((place.word != nil) == !image)
            guard let grid = place.grid else { continue }
            patches[grid, default: []].append([try #require(place.row), try #require(place.column)])
        }
        for grid in grids {
            let all = (0..<grid.rows).flatMap { row in (0..<grid.columns).map { [row, $0] } }
            #expect(patches[grid.name] == all, "\(golden) \(grid.name)")
        }
        #expect(patches.count == grids.count)
        #expect(places.place(module: decoder, token: isImage.count) == nil)
        // The tower: a class token, then rows of patches, tile by tile.
        let tower = model.visionModule
        #expect(try #require(places.place(module: tower, token: 0)).row == nil)
        let first = try #require(places.place(module: tower, token: 1))
        #expect(first.tile == 0 && first.row == 0 && first.column == 0)
        let tokens = try model.visionTokens(
            size: .init(height: item.image.height, width: item.image.width), prompt: item.prompt)
        let last = try #require(places.place(module: tower, token: tokens - 1))
        let tiles = input.pixelShape.count == 4 ? input.pixelShape[0] : 1
        #expect(last.tile == tiles - 1 && last.row == last.column)
        #expect(
            (try #require(last.row) + 1) * (try #require(last.column) + 1) + 1 == tokens / tiles)
    }

    /// A tower's patch lies where the decoder's token that is made of it lies, however the picture
    /// is laid on tiles, and tiles cover the picture.
    @Test(arguments: [GoldenModel.llava, .llava15, .blip]) func towersSeeWhereTheyAreSaidTo(
        _ golden: GoldenModel
    ) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let tower = try #require(model.modules.firstIndex { $0.name == model.visionModule })
        let decoder = try #require(model.modules.firstIndex(of: model.decoderModule))
        for (width, height) in [(64, 64), (90, 31), (31, 90), (200, 100), (17, 300)] {
            let image = RGBImage(
                width: width, height: height,
                pixels: Array(repeating: 100, count: width * height * 3))
            let input = try model.prepare(
                image: image, prompt: golden.namesPicture ? "<image>\nWhy?" : "Why?")
            let places = TokenPlaces(input, of: model, width: width, height: height)
            let seen = model.tokenRows(of: tower, in: input)
            var covered: [Int32: Double] = [:]
            for (token, row) in seen.enumerated() where row.place.row >= 0 {
                let box = places.box(module: model.visionModule, token: token)
                covered[row.place.tile, default: 0] += box.map { $0.width * $0.height } ?? 0
            }
            #expect(abs((covered[0] ?? 0) - 1) < 1e-9 || golden.architecture == "llava-1.5")
            let tiles = covered.filter { $0.key > 0 }.values
            #expect(tiles.isEmpty || abs(tiles.reduce(0, +) - 1) < 1e-9)
            for (token, row) in model.tokenRows(of: decoder, in: input).enumerated()
            where row.place.row >= 0 {
                let same = try #require(seen.firstIndex { $0.place == row.place })
                let own = try #require(
                    places.box(module: model.decoderModule.name, token: token), "\(row.place)")
                let box = try #require(places.box(module: model.visionModule, token: same))
                for side in [\PictureBox.x, \.y, \.width, \.height] {
                    #expect(abs(own[keyPath: side] - box[keyPath: side]) < 1e-9)
                }
            }
            #expect(places.box(module: model.visionModule, token: 0) == nil)
            #expect(places.box(module: model.visionModule, token: seen.count) == nil)
        }
    }

    /// The words around a token are those of the prompt, up to the picture; the Q-Former reads too.
    @Test(arguments: [GoldenModel.llava, .blip]) func wordsAround(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let (_, input, places) = try Self.first(golden, model)
        for (number, module) in model.modules.enumerated() {
            let rows = model.tokenRows(of: number, in: input)
            let words = rows.map { row -> String? in
                guard !row.isImage else { return nil }
                let piece =
                    module == model.decoderModule
                    ? model.tokenizer.piece(row.token) : model.towerTokenizer?.piece(row.token)
                return piece.map { String(decoding: $0, as: UTF8.self) }
            }
            let reads = module == model.decoderModule || module.name == "qformer"
            #expect(words.contains { $0 != nil } == reads)
            for token in rows.indices where words[token] != nil {
                #expect(places.place(module: module.name, token: token)?.word == words[token])
                for reach in [0, 2, 1000] {
                    let found = places.words(around: token, module: module.name, reach: reach)
                    let before = words[..<token].suffix(reach).reversed().prefix { $0 != nil }
                    let after = words[(token + 1)...].prefix(reach).prefix { $0 != nil }
                    #expect(found.before == before.reversed().compactMap { $0 })
                    #expect(found.after == after.compactMap { $0 })
                }
            }
        }
        let last = model.tokenRows(
            of: try #require(model.modules.firstIndex(of: model.decoderModule)), in: input
        ).count
        let none = places.words(around: last, module: model.decoderModule.name, reach: 3)
        #expect(none.before.isEmpty && none.after.isEmpty)
    }
}
