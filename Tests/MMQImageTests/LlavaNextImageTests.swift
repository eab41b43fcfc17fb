import MMQImage
import Testing

struct TileGoldens: Decodable {
    struct Case: Decodable {
        let seed: UInt64
        let width: Int
        let height: Int
        let shape: [Int]
        let crc32: UInt32
        let places: [Int]
        let values: [Double]
    }

    struct Group: Decodable {
        let family: String
        let name: String
        let preprocessor_config: String
        let processor_config: String
        let cases: [Case]
    }

    let groups: [Group]

    static func groups(of family: String) throws -> [Group] {
        try ImageGoldens.json("tiles.json", as: TileGoldens.self).groups
            .filter { $0.family == family }
    }
}

extension TileGoldens.Case {
    var image: RGBImage { ImageGoldens.noise(width: width, height: height, seed: seed) }

    /// Compares with what transformers computed: all to the bit, and some values by themselves so
    /// that a failure shows how far off they are.
    func check(_ found: [Float], shape foundShape: [Int], name: String) {
        #expect(foundShape == shape, "\(name)")
        guard found.count == shape.reduce(1, *) else {
            Issue.record("\(name): \(found.count) values")
            return
        }
        for (place, value) in zip(places, values) {
            #expect(found[place] == Float(value), "\(name), value \(place)")
        }
        #expect(ImageGoldens.checksum(found) == crc32, "\(name)")
    }
}

@Suite("LLaVA-Next's tiles equal transformers' LlavaNextImageProcessor")
struct LlavaNextImageTests {
    @Test("Pixel values, to the bit, from both kinds of settings file")
    func tiles() throws {
        let groups = try TileGoldens.groups(of: "llava_next")
        #expect(groups.count >= 6)
        for group in groups {
            let config = try LlavaNextImageConfig.parse(
                json: Array(group.preprocessor_config.utf8), file: "preprocessor_config.json",
                kind: "LlavaNextImageProcessor")
            let nested = try LlavaNextImageConfig.parse(
                json: Array(group.processor_config.utf8), file: "processor_config.json",
                kind: "LlavaNextImageProcessor")
            #expect(config == nested)
            let processor = try LlavaNextImageProcessor(config: config)
            for golden in group.cases {
                let name = "\(group.name) \(golden.width) x \(golden.height)"
                let tiled = try processor.process(golden.image)
                golden.check(
                    tiled.pixelValues,
                    shape: [tiled.tiles, 3, tiled.tileHeight, tiled.tileWidth], name: name)
                #expect(tiled.originalWidth == golden.width)
                #expect(tiled.originalHeight == golden.height)
                #expect(tiled.tiles == tiled.gridRows * tiled.gridColumns + 1)
            }
        }
    }

    struct TokenGoldens: Decodable {
        struct Group: Decodable {
            let name: String
            let pinpoints: [[Int]]
            let side: Int
            let patch: Int
            /// width height features gridRows gridColumns top bottom left right
            let rows: [[Int]]
        }

        let groups: [Group]
    }

    @Test("Token counts, grids and unpadding for hundreds of sizes")
    func tokens() throws {
        let groups = try ImageGoldens.json("tokens.json", as: TokenGoldens.self).groups
        #expect(groups.count == 2)
        for group in groups {
            let pinpoints = group.pinpoints.map { PixelSize(height: $0[0], width: $0[1]) }
            let processor = try makeProcessor(side: group.side, pinpoints: pinpoints)
            #expect(group.rows.count > 250)
            for row in group.rows {
                let name: Comment = "\(group.name) \(row[0]) x \(row[1])"
                let full = try processor.imageTokenCount(
                    width: row[0], height: row[1], patchSize: group.patch, additionalTokens: 1,
                    dropsFirstToken: false)
                let standard = try processor.imageTokenCount(
                    width: row[0], height: row[1], patchSize: group.patch, additionalTokens: 1,
                    dropsFirstToken: true)
                #expect(full == row[2], name)
                #expect(standard == row[2] - 1, name)
                checkRange(row, group: group, pinpoints: pinpoints, name: name)
            }
        }
    }

    private func checkRange(
        _ row: [Int], group: TokenGoldens.Group, pinpoints: [PixelSize], name: Comment
    ) {
        let original = PixelSize(height: row[1], width: row[0])
        let grid = LlavaNextGeometry.bestResolution(for: original, of: pinpoints)
        #expect(grid == PixelSize(height: row[3] * group.side, width: row[4] * group.side), name)
        let patches = group.side / group.patch
        let range = LlavaNextGeometry.unpaddedFeatureRange(
            original: original, rows: row[3] * patches, columns: row[4] * patches)
        if row[5] < 0 {
            #expect(range.rows.isEmpty || range.columns.isEmpty, name)
        } else {
            #expect(range.rows == row[5]..<row[6], name)
            #expect(range.columns == row[7]..<row[8], name)
        }
        // Base tile, and the unpadded grid with a newline for each row.
        #expect(patches * patches + 1 + range.tokenCount == row[2], name)
    }

    @Test("Counts that other programs got wrong")
    func knownCounts() throws {
        let sizes = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
        let processor = try makeProcessor(
            side: 336, pinpoints: sizes.map { PixelSize(height: $0[0], width: $0[1]) })
        let counts: [(Int, Int, Int)] = [
            (640, 480, 2340), (480, 640, 2352), (512, 512, 2928), (256, 256, 1176),
            (1700, 2200, 2448), (1920, 1080, 1948), (9600, 1080, 1160), (656, 1722, 2176),
            (2501, 2928, 2640),
        ]
        for (width, height, count) in counts {
            let found = try processor.imageTokenCount(
                width: width, height: height, patchSize: 14, additionalTokens: 1,
                dropsFirstToken: true)
            #expect(found == count, "\(width) x \(height)")
        }
    }

    @Test("Impossible sizes are errors")
    func impossible() throws {
        let processor = try makeProcessor(side: 28, pinpoints: [PixelSize(height: 28, width: 28)])
        let empty = RGBImage(width: 0, height: 3, pixels: [])
        #expect(imageError { try processor.process(empty) }?.code == .empty)
        for (width, height, patch) in [
            (0, 1, 7), (1, 0, 7), (1, 1, 0), (1, 1, 29), (.max, .max, 7),
        ] {
            let error = imageError {
                try processor.imageTokenCount(
                    width: width, height: height, patchSize: patch, additionalTokens: 1,
                    dropsFirstToken: true)
            }
            #expect(error?.code == .badValue)
        }
    }

    private func makeProcessor(side: Int, pinpoints: [PixelSize]) throws -> LlavaNextImageProcessor
    {
        try LlavaNextImageProcessor(
            config: LlavaNextImageConfig(
                gridPinpoints: pinpoints, size: .shortestEdge(side),
                cropSize: PixelSize(height: side, width: side),
                normalization: PixelNormalization(rescaleFactor: 1 / 255, mean: nil, std: nil)))
    }
}

@Suite("InstructBLIP's pictures equal transformers' BlipImageProcessor")
struct SquashImageTests {
    @Test("Pixel values, to the bit, from both kinds of settings file")
    func squashed() throws {
        let groups = try TileGoldens.groups(of: "blip")
        #expect(groups.count >= 3)
        for group in groups {
            let config = try SquashImageConfig.parse(
                json: Array(group.preprocessor_config.utf8), file: "preprocessor_config.json",
                kind: "BlipImageProcessor")
            let nested = try SquashImageConfig.parse(
                json: Array(group.processor_config.utf8), file: "processor_config.json",
                kind: "BlipImageProcessor")
            #expect(config == nested)
            let processor = try SquashImageProcessor(config: config)
            for golden in group.cases {
                let values = try processor.process(golden.image)
                golden.check(
                    values, shape: [3, config.size.height, config.size.width],
                    name: "\(group.name) \(golden.width) x \(golden.height)")
            }
        }
    }

    @Test("A picture without pixels is an error")
    func empty() throws {
        let processor = try SquashImageProcessor(
            config: SquashImageConfig(
                size: PixelSize(height: 2, width: 2),
                normalization: PixelNormalization(rescaleFactor: nil, mean: nil, std: nil)))
        let error = imageError { try processor.process(RGBImage(width: 2, height: 0, pixels: [])) }
        #expect(error?.code == .empty)
    }
}
