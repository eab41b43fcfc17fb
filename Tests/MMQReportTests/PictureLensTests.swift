import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQStudy
import StudySupport
import Support
import Testing

@testable import MMQModels
@testable import MMQReport

@Suite struct PictureLensTests {
    private static let images = Golden.folder + "/llava-next/images"

    @Test func packedNumbersAreThoseOfTheLens() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let path = Self.images + "/odd.png"
        let prompt = "<image>\nWhat is it?"
        let reading = try model.lens(image: RGBImage.decode(path: path), prompt: prompt)
        let document = LensDocument(reading, tokenizer: model.tokenizer, prompt: prompt)
        let lens = try PictureLens(path: path, prompt: prompt, model: model)
        #expect(lens.name == "odd.png")
        #expect(lens.model == model.fingerprint)
        #expect(lens.positions == reading.positions)
        #expect(lens.layers == Array(0..<reading.layers))
        #expect(lens.top == 10 && lens.topGiven == 10)
        #expect(Set(lens.words).count == lens.words.count)
        for position in 0..<reading.positions {
            #expect(
                lens.imageRuns.contains { $0[0] <= position && position < $0[0] + $0[1] }
                    == reading.isImage[position])
            if reading.isImage[position] {
                #expect(lens.tokens[position] == -1)
            } else {
                #expect(
                    lens.words[lens.tokens[position]] == document.word(reading.inputIDs[position]))
            }
            for layer in 0..<reading.layers {
                let row = layer * reading.positions + position
                let found = lens.reading(place: layer, position: position)
                let entropy = try #require(found.entropy)
                #expect(abs(entropy - Double(reading.entropies[row])) < 1e-4)
                #expect(found.words.count == 10)
                for (place, word) in found.words.enumerated() {
                    let i = row * reading.top + place
                    #expect(word.word == document.word(reading.topIDs[i]))
                    let probability = try #require(word.probability)
                    #expect(abs(probability - Double(reading.topProbabilities[i])) < 1e-5)
                }
            }
        }
        // The same by way of a file.
        try document.json.withUnsafeBytes {
            try Data($0).write(to: URL(fileURLWithPath: folder.path + "/lens.json"))
        }
        let read = try PictureLens(file: folder.path + "/lens.json", top: 10)
        #expect(read.words == lens.words && read.tokens == lens.tokens && read.ids == lens.ids)
        #expect(read.probabilities == lens.probabilities && read.entropies == lens.entropies)
        #expect(read.prompt == prompt && read.imageRuns == lens.imageRuns)
        #expect(read.picture == nil && read.grids.isEmpty && read.model == nil)
        #expect(try PictureLens(file: folder.path + "/lens.json", top: 3).top == 3)
    }

    @Test func filesThatAreNoLensAreRefused() throws {
        let folder = try TemporaryFolder()
        let good = """
            {"prompt": "p", "layers": 1, "positions": 2, "top": 1, "input_ids": [1, 2],
             "is_image": [true, false], "top_ids": [[[3], [-1]]],
             "top_probabilities": [[[0.5], [null]]], "entropies": [[1, null]],
             "divergences": [[0, 0]], "words": {"1": "a", "2": "b", "3": "c"}}
            """
        try folder.write("good", text: good)
        let lens = try PictureLens(file: folder.path + "/good")
        #expect(lens.reading(place: 0, position: 0).words.map(\.word) == ["c"])
        #expect(lens.reading(place: 0, position: 1).words.isEmpty)
        #expect(lens.reading(place: 0, position: 1).entropy == nil)
        #expect(lens.name == "good")
        try folder.write(
            "part",
            text: good.replacingOccurrences(
                of: "{\"prompt\"", with: "{\"part\": \"mlp\", \"prompt\""))
        #expect(try PictureLens(file: folder.path + "/part").name == "part (mlp output alone)")
        for (from, to, key) in [
            ("\"layers\": 1", "\"layers\": 2", "top_ids"), ("[1, 2]", "[1]", "input_ids"),
            ("\"layers\": 1", "\"layers\": 0", "layers"),
            ("\"top\": 1", "\"top\": 99999999999", "top"),
            ("true, false", "1, 0", "is_image"), ("[[[3], [-1]]]", "[[[3], [\"x\"]]]", "top_ids"),
            ("[[1, null]]", "[[1, \"x\"]]", "entropies"), ("\"prompt\"", "\"promt\"", "prompt"),
            ("{\"1\": \"a\"", "{\"one\": \"a\"", "words"),
            ("[1, 2]", "[1, 99999999999]", "input_ids"),
        ] {
            try folder.write("bad", text: good.replacing(from, with: to))
            let error = #expect(throws: InputError.self, "\(to)") {
                try PictureLens(file: folder.path + "/bad")
            }
            #expect(error?.code == .badInput)
            #expect(error?.item == key, "\(to): \(error?.item ?? "")")
        }
        try folder.write("bad", text: "not JSON")
        #expect(throws: InputError.self) { try PictureLens(file: folder.path + "/bad") }
    }

    @Test func sizeIsBounded() {
        // LLaVA-Next's largest picture in a 7B model fits with five tokens and all layers.
        let (layers, top) = PictureLens.fitting(
            layers: 32, positions: 2928, top: 5, limit: PictureLens.defaultLimit)
        #expect(layers == Array(0..<32) && top == 5)
        for (limit, wanted) in [(1 << 20, 10), (500_000, 10), (100_000, 3), (1, 5)] {
            let (layers, top) = PictureLens.fitting(
                layers: 32, positions: 2928, top: wanted, limit: limit)
            #expect(top >= 1 && top <= wanted)
            #expect(layers.last == 31 && layers == layers.sorted())
            let bytes = layers.count * 2928 * (2 + 4 * top)
            #expect(bytes <= limit || layers.count == 1)
            if layers.count < 32 { #expect(top == 1) }
        }
    }

    private static let side = 24
    private static let settings = LlavaNextImageConfig(
        gridPinpoints: [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
            .map { PixelSize(height: $0[0], width: $0[1]) },
        size: .shortestEdge(336), cropSize: PixelSize(height: 336, width: 336),
        resizesTiles: true, cropsTiles: true,
        normalization: PixelNormalization(rescaleFactor: nil, mean: nil, std: nil))

    /// A black picture with a white spot in the middle of a patch.
    private func spot(
        in grid: PictureGrid, row: Int, column: Int, width: Int, height: Int
    ) -> RGBImage {
        func range(_ start: Double, _ cell: Double, _ place: Int, _ size: Int) -> Range<Int> {
            let middle = (start + (Double(place) + 0.5) * cell) * Double(size)
            let reach = max(1, cell * Double(size) * 0.35)
            let start = min(size, max(0, Int(middle - reach)))
            return start..<max(start, min(size, Int(middle + reach) + 1))
        }
        let rows = range(grid.y, grid.cellHeight, row, height)
        let columns = range(grid.x, grid.cellWidth, column, width)
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        for y in rows {
            for i in (y * width + columns.lowerBound) * 3..<(y * width + columns.upperBound) * 3 {
                pixels[i] = 255
            }
        }
        return RGBImage(width: width, height: height, pixels: pixels)
    }

    /// The tile and the patch with the greatest sum of red.
    private func brightest(_ tiling: TiledImage, tiles: Range<Int>) -> (tile: Int, patch: Int) {
        let size = 336
        var best: (sum: Float, tile: Int, patch: Int) = (-1, 0, 0)
        for tile in tiles {
            for patch in 0..<Self.side * Self.side {
                let top = patch / Self.side * 14
                let left = patch % Self.side * 14
                var sum: Float = 0
                for y in top..<top + 14 {
                    let start = tile * 3 * size * size + y * size + left
                    for i in start..<start + 14 { sum += tiling.pixelValues[i] }
                }
                if sum > best.sum { best = (sum, tile, patch) }
            }
        }
        return (best.tile, best.patch)
    }

    /// A bright spot in the middle of the place that a grid names must be brightest in the patch
    /// whose features stand at that position.
    @Test(arguments: [(800, 600), (600, 800), (1000, 330), (300, 1100), (336, 336), (1344, 336)])
    func gridsLieWhereThePatchesAre(_ width: Int, _ height: Int) throws {
        let side = Self.side
        let processor = try LlavaNextImageProcessor(config: Self.settings)
        let tokens = try processor.imageTokenCount(
            width: width, height: height, patchSize: 14, additionalTokens: 1,
            dropsFirstToken: true)
        let isImage = Array(repeating: false, count: 3) + Array(repeating: true, count: tokens)
        let grids = LlavaNextConfig.grids(
            settings: Self.settings, side: side, width: width, height: height, isImage: isImage)
        try #require(grids.map { $0.name } == ["tiles", "overview"])
        for grid in grids {
            for (row, column) in [
                (1, 1), (grid.rows / 2, grid.columns / 3), (grid.rows - 2, grid.columns - 2),
            ] {
                let image = spot(in: grid, row: row, column: column, width: width, height: height)
                let tiling = try processor.process(image)
                let position: Int
                if grid.name == "overview" {
                    position = 3 + brightest(tiling, tiles: 0..<1).patch
                } else {
                    // As features are packed.
                    let found = brightest(tiling, tiles: 1..<tiling.tiles)
                    let kept = LlavaNextGeometry.unpaddedFeatureRange(
                        original: PixelSize(height: height, width: width),
                        rows: tiling.gridRows * side, columns: tiling.gridColumns * side)
                    let tile = found.tile - 1
                    let r = tile / tiling.gridColumns * side + found.patch / side
                    let c = tile % tiling.gridColumns * side + found.patch % side
                    let line = kept.columns.count + 1
                    position =
                        3 + side * side + (r - kept.rows.lowerBound) * line
                        + (c - kept.columns.lowerBound)
                }
                let line = grid.columns + (grid.hasRowEnds ? 1 : 0)
                #expect(
                    grid.first + row * line + column == position,
                    "\(grid.name), row \(row), column \(column)")
            }
        }
    }

    /// 4.41 joins features of a grid that is no square as those of another: they have no place.
    @Test(arguments: [
        (800, 600, true), (1000, 330, false), (300, 1100, false), (336, 336, false),
    ])
    func swappedGridsHaveNoPlace(_ width: Int, _ height: Int, _ isSquare: Bool) throws {
        let processor = try LlavaNextImageProcessor(config: Self.settings, as: .june2024)
        let tokens = try processor.imageTokenCount(
            width: width, height: height, patchSize: 14, additionalTokens: 1,
            dropsFirstToken: true)
        let grids = LlavaNextConfig.grids(
            settings: Self.settings, side: Self.side, width: width, height: height,
            isImage: Array(repeating: true, count: tokens), as: .june2024)
        #expect(grids.map { $0.name } == (isSquare ? ["tiles", "overview"] : ["overview"]))
    }

    @Test func modelsWithoutPlacesHaveNoGrid() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let blip = try LensFixture.model("instructblip/new-f16", in: folder)
        let lens = try PictureLens(
            path: Golden.folder + "/instructblip/images/square.png", prompt: "Why?",
            model: blip)
        #expect(lens.grids.isEmpty && !lens.imageRuns.isEmpty && lens.picture != nil)
        // Golden models have grids like real ones.
        let llava = try LensFixture.model(in: folder)
        let placed = try PictureLens(
            path: Self.images + "/wide.png", prompt: "<image>\nWhy?", model: llava)
        #expect(placed.grids.map { $0.name } == ["tiles", "overview"])
        let tokens = placed.grids.reduce(0) {
            $0 + $1.rows * ($1.columns + ($1.hasRowEnds ? 1 : 0))
        }
        #expect(tokens == placed.imageRuns.reduce(0) { $0 + $1[1] })
    }

    // MARK: - The picture in the page

    private func decode(_ picture: EmbeddedPicture) throws -> RGBImage {
        try [UInt8](picture.data).withUnsafeBytes { try RGBImage.decode(bytes: $0, name: "page") }
    }

    @Test func picturesLoseWhatIsNotTheirPixels() throws {
        let folder = try TemporaryFolder()
        let secret = Array("Exif\0\0GPS 51.5N".utf8)
        // JPEG: an APP1 and a comment behind the start.
        let jpeg = LensFixture.bench + "/vqav2/train2014/COCO_train2014_000000000101.jpg"
        let plain = try readSmallFile(jpeg)
        func segment(_ marker: UInt8) -> [UInt8] {
            [0xFF, marker, 0, UInt8(secret.count + 2)] + secret
        }
        let marked = Array(plain[..<2]) + segment(0xE1) + segment(0xFE) + Array(plain[2...])
        // PNG: a text chunk behind the header.
        let png = try readSmallFile(Self.images + "/wide.png")
        let chunk =
            [0, 0, 0, UInt8(secret.count)] + Array("tEXt".utf8) + secret + [0, 0, 0, 0]
        let text = Array(png[..<33]) + chunk + Array(png[33...])
        for (name, bytes, type) in [
            ("a.jpg", marked, "image/jpeg"), ("a.png", text, "image/png"),
        ] {
            let path = folder.path + "/" + name
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            #expect(Data(bytes).range(of: Data(secret)) != nil)
            guard name == "a.jpg" else {
                // libpng checks the chunk's sum; what is stripped is never read.
                #expect(
                    Data(try #require(EmbeddedPicture.barePNG(bytes))).range(of: Data(secret))
                        == nil)
                continue
            }
            let (image, embedded) = try EmbeddedPicture.read(path)
            #expect(embedded.type == type)
            #expect(embedded.data.range(of: Data(secret)) == nil)
            #expect(embedded.data.count < bytes.count)
            #expect(try decode(embedded) == image)
        }
        // Cut short, or lengths that lead outside: never out of bounds.
        for bytes in [plain, png] {
            for count in stride(from: 0, to: min(bytes.count, 400), by: 3) {
                _ = EmbeddedPicture.bareJPEG(Array(bytes[..<count]))
                _ = EmbeddedPicture.barePNG(Array(bytes[..<count]))
            }
        }
    }

    @Test func largePicturesAreMadeSmaller() throws {
        let folder = try TemporaryFolder()
        // Noise does not compress: above the limit.
        var generator = SplitMix64(seed: 1)
        let (width, height) = (900, 700)
        let image = RGBImage(
            width: width, height: height,
            pixels: (0..<width * height * 3).map { _ in UInt8(generator.number(below: 256)) })
        let path = folder.path + "/large.png"
        let bytes = image.uncompressedPNG()
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        #expect(bytes.count > EmbeddedPicture.largestFile)
        // Our own PNG is a PNG: it decodes to what went in.
        #expect(try RGBImage.decode(path: path) == image)
        let (read, embedded) = try EmbeddedPicture.read(path)
        #expect(read == image)
        #expect(embedded.width == width && embedded.height == height)
        #expect(try decode(embedded) == image.resizedBicubic(width: 640, height: 497))
        #expect(embedded.data.count < EmbeddedPicture.largestFile)
    }
}
