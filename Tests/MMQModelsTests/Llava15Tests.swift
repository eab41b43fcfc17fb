import Foundation
import MMQBase
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQModels

/// What is special about LLaVA-1.5; the ladder runs its goldens with all others.
@Suite struct Llava15Tests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A dark dot in the middle of the place that the grid names lies in the patch at that position.
    @Test(arguments: GoldenModel.allLlava15, [(90, 60), (40, 120), (50, 50), (400, 61)])
    func gridLiesWhereThePatchesAre(_ golden: GoldenModel, _ size: (Int, Int)) throws {
        let model = try golden.open(in: folder)
        let (width, height) = size
        let prompt = "<image>\nWhy?"
        func pixels(_ image: RGBImage) throws -> PreparedInput {
            try model.prepare(image: image, prompt: prompt)
        }
        let white = RGBImage(
            width: width, height: height, pixels: Array(repeating: 255, count: width * height * 3))
        let plain = try pixels(white)
        let isImage = plain.inputIDs.map { $0 == model.imageToken }
        let grids = model.pictureGrids(width: width, height: height, isImage: isImage)
        let grid = try #require(grids.first)
        #expect(grids.count == 1)
        let vision = model.files.model.vision
        #expect(grid.rows == vision.patchesPerSide && grid.columns == vision.patchesPerSide)
        let first = try #require(isImage.firstIndex(of: true))
        let count = isImage.count { $0 }
        // Only `full` has a class token in front.
        #expect(grid.first == first + (count - vision.patches))
        #expect(count == vision.patches || count == vision.tokens)
        for row in 0..<grid.rows {
            for column in 0..<grid.columns {
                let x = (grid.x + (Double(column) + 0.5) * grid.cellWidth) * Double(width)
                let y = (grid.y + (Double(row) + 0.5) * grid.cellHeight) * Double(height)
                // Where a crop is larger than the picture, patches at its edge lie outside.
                guard (1..<Double(width - 1)).contains(x), (1..<Double(height - 1)).contains(y)
                else { continue }
                var image = white
                let place = (Int(y) * width + Int(x)) * 3
                image.pixels.replaceSubrange(place..<place + 3, with: [0, 0, 0])
                let dotted = try pixels(image).pixelValues
                let darkest = try #require(
                    dotted.indices.max {
                        abs(dotted[$0] - plain.pixelValues[$0])
                            < abs(dotted[$1] - plain.pixelValues[$1])
                    })
                let at = darkest % (vision.imageSize * vision.imageSize)
                #expect(at / vision.imageSize / vision.patchSize == row)
                #expect(at % vision.imageSize / vision.patchSize == column)
            }
        }
    }

    /// The prompt that transformers' processor makes with the checkpoint's own template.
    @Test func templateIsTheCheckpoints() throws {
        var compared = 0
        for golden in GoldenModel.all {
            let turn = try golden.description()["turn"]
            guard let words = turn?["words"]?.text, let prompt = turn?["prompt"]?.text else {
                continue
            }
            #expect(try golden.open(in: folder).prompt(words) == prompt, "\(golden.name)")
            compared += 1
        }
        #expect(compared >= 2)
    }

    /// Unlike LLaVA-Next's, where the outer flag alone counts.
    @Test(arguments: [nil, false, true], [nil, false, true])
    func eitherFlagTiesTheHead(_ outer: Bool?, _ inner: Bool?) throws {
        func flag(_ value: Bool?) -> String {
            value.map { #", "tie_word_embeddings": \#($0)"# } ?? ""
        }
        let text =
            #"{"model_type": "llava", "image_token_index": 5\#(flag(outer)), "#
            + #""text_config": {"model_type": "llama"\#(flag(inner))}}"#
        let config = try Llava15Config(
            json: JSONValue(parsing: Array(text.utf8), file: "config.json"), file: "config.json")
        #expect(config.text.tiedHead == (outer == true || inner == true))
    }

    @Test func pictureSettingsOfAnotherTower() throws {
        let copy = folder("checkpoint")
        try FileManager.default.copyItem(atPath: GoldenModel.llava15.checkpoint, toPath: copy)
        let path = copy + "/preprocessor_config.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacingOccurrences(of: #""height": 42"#, with: #""height": 28"#)
            .write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: InputError.self) {
            try Converter(checkpoint: copy, options: ConversionOptions())
        }
        #expect(error?.file == path && error?.found == "28 x 42")
    }
}
