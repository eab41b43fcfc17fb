import MMQModels
import Support
import Testing

/// What the tokens are that modules see.
@Suite struct TokenPlaceTests {
    /// Every image token has one place at most, and rows of patches follow each other.
    @Test(arguments: [GoldenModel.llava, .blip, .llava15]) func tokensHaveTheirPlaces(
        _ golden: GoldenModel
    ) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let item = try #require(try golden.cases().first)
        let input = try model.prepare(image: item.image, prompt: item.prompt)
        let places = TokenPlaces(
            input, of: model, width: item.image.width, height: item.image.height)
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
}
