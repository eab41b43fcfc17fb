import Foundation
import MMQBase
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQModels

/// `--compat 4.41` against transformers 4.41.2 with Pillow 12, on fourteen shapes of pictures.
@Suite struct CompatibilityTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func golden(_ architecture: String) throws -> (cases: [JSONValue], GoldenModel) {
        let description = try Golden.json("compat/\(architecture)/cases.json")
        #expect(description["transformers"]?.text == "4.41.2")
        let checkpoint = try #require(description["checkpoint"]?.text)
        let parts = checkpoint.split(separator: "/").map(String.init)
        let cases = try #require(description["cases"]?.array)
        try #require(parts.count == 2 && cases.count == 14)
        return (cases, GoldenModel(parts[0], parts[1]))
    }

    /// The model as both versions take its pictures.
    private func open(
        _ golden: GoldenModel
    ) throws -> (june: any VisionLanguageModel, now: any VisionLanguageModel) {
        let stored = try StoredType(rawValue: #require(golden.description()["type"]?.text))
        let type = try #require(stored)
        try Converter(
            checkpoint: golden.checkpoint, options: ConversionOptions(type: type, visionType: type)
        ).convert(to: folder("model"))
        return (
            try ModelFiles(folder: folder("model"), compatibility: .june2024).open(),
            try ModelFiles(folder: folder("model")).open()
        )
    }

    private func trace(
        _ model: any VisionLanguageModel, _ image: RGBImage, _ prompt: String
    ) throws -> SafetensorsFile {
        let path = folder("trace.safetensors")
        try model.trace(
            image: image, prompt: prompt, sites: [.ids, .pixels, .lastLogits, .counts], mask: nil,
            to: path)
        return try SafetensorsFile(path: path)
    }

    @Test(arguments: ["llava-next", "instructblip", "llava-1.5"])
    func everyStageIsThatOf441(_ architecture: String) throws {
        let (cases, golden) = try golden(architecture)
        let (june, now) = try open(golden)
        let expected = try Golden.tensors("compat/\(architecture)/expected.safetensors")
        var others = 0
        var (neurons, wrong, answers) = (0, 0, 0)
        for item in cases {
            let name = try #require(item["name"]?.text)
            let what: Comment = "\(architecture) \(name)"
            let image = try RGBImage.decode(path: Golden.path("compat/images/\(name).png"))
            let prompt = try #require(item["prompt"]?.text)
            let found = try trace(june, image, prompt)
            // 4.41 keeps one place for the picture, or none.
            var ids: [Int64] = []
            for id in try found.integers("input_ids") {
                guard id == Int64(june.imageToken) else {
                    ids.append(id)
                    continue
                }
                if golden.namesPicture, ids.last != id { ids.append(id) }
            }
            #expect(try ids == expected.integers(name + ".input_ids"), what)
            let pixels = try found.floats("pixel_values")
            #expect(
                pixels.withUnsafeBytes { Int(crc32(Array($0))) } == item["pixels"]?.integer, what)
            assertClose(
                Array(try found.floats("last_logits").suffix(june.vocabularySize)),
                try expected.floats(name + ".last_logits"), tolerance: 5e-4, "\(what)")
            for module in june.modules {
                #expect(
                    try found.integers(module.name + "_len")
                        == expected.integers("\(name).\(module.name)_len"), what)
                let want = try expected.integers("\(name).\(module.name)_log")
                let got = try found.integers(module.name + "_log")
                #expect(got.count == want.count)
                neurons += want.count
                wrong += zip(got, want).count { $0 != $1 }
            }
            // Where it hangs on a tie the answer says nothing.
            if try #require(item["smallest_gap"]?.double) >= 5e-3 {
                let tokens = try #require(item["tokens"]?.array).compactMap(\.integer)
                let answer = try june.generate(
                    image: image, prompt: prompt, options: GenerationOptions(maxTokens: 24))
                #expect(answer.tokens.map(Int.init) == tokens, what)
                answers += 1
            }
            let today = try trace(now, image, prompt)
            if try today.floats("last_logits") != found.floats("last_logits") { others += 1 }
        }
        #expect(Double(wrong) <= 0.001 * Double(neurons), "\(wrong) of \(neurons)")
        #expect(answers >= 6)
        // The two versions do differ, else this would show nothing. LLaVA-1.5 keeps a picture's aspect:
        // it takes another for tall ones only, when they shrink.
        #expect(others >= (architecture == "llava-1.5" ? 1 : 3), "\(others) cases")
    }

    /// Sides, in tensors, are single precision there: now and then another row of features is picture.
    @Test func unpaddingIsThatOf441() throws {
        let golden = try Golden.json("compat/unpadded.json")
        #expect(golden["transformers"]?.text == "4.41.2")
        var others = 0
        for size in try #require(golden["sizes"]?.array) {
            let values = try #require(size.array).compactMap(\.integer)
            try #require(values.count == 6)
            func kept(_ version: Compatibility) -> [Int] {
                let range = LlavaNextGeometry.unpaddedFeatureRange(
                    original: PixelSize(height: values[1], width: values[0]), rows: values[2],
                    columns: values[3], as: version)
                return [range.rows.count, range.columns.count]
            }
            #expect(kept(.june2024) == Array(values[4...]), "\(values)")
            if kept(.current) != Array(values[4...]) { others += 1 }
        }
        #expect(others >= 50)
    }

    /// Pillow 12 resizes down first what is more than a hundred times as high as wide, and gets lower.
    @Test func tallPicturesAreThoseOfPillow12() throws {
        let golden = try Golden.json("compat/resized.json")
        #expect(golden["pillow"]?.text?.hasPrefix("12.") == true)
        var others = 0
        for item in try #require(golden["pictures"]?.array) {
            let values = try #require(item.array).compactMap(\.integer)
            try #require(values.count == 5)
            let picture = RGBImage(
                width: values[0], height: values[1],
                pixels: (0..<3 * values[0] * values[1]).map { UInt8((($0 * $0 * 31) >> 3) & 255) })
            func sum(_ version: Compatibility) -> Int {
                Int(
                    crc32(
                        picture.resizedBicubic(width: values[2], height: values[3], as: version)
                            .pixels))
            }
            #expect(sum(.june2024) == values[4], "\(values)")
            if sum(.current) != values[4] { others += 1 }
        }
        #expect(others >= 1)
    }

    /// At the real sizes: strips lose most of their tokens to the swapped axes.
    @Test func tokensOfRealPictures() throws {
        let side = PixelSize(height: 336, width: 336)
        let config = LlavaNextImageConfig(
            gridPinpoints: [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
                .map { PixelSize(height: $0[0], width: $0[1]) },
            size: .shortestEdge(336), cropSize: side,
            normalization: PixelNormalization(rescaleFactor: nil, mean: nil, std: nil))
        func tokens(_ width: Int, _ height: Int, _ version: Compatibility) throws -> Int {
            try LlavaNextImageProcessor(config: config, as: version).imageTokenCount(
                width: width, height: height, patchSize: 14, additionalTokens: 1,
                dropsFirstToken: true)
        }
        for (width, height, june, now) in [
            (9600, 1080, 626, 1160), (1000, 400, 826, 2040), (640, 480, 2340, 2340),
            (1700, 2200, 2448, 2448), (512, 512, 2928, 2928), (1920, 1080, 1948, 1948),
            (256, 256, 1176, 1176),
        ] {
            #expect(try tokens(width, height, .june2024) == june, "\(width) x \(height)")
            #expect(try tokens(width, height, .current) == now, "\(width) x \(height)")
        }
    }

    @Test func settingsWhoseTilesWouldDifferAreRefused() throws {
        let plain = PixelNormalization(rescaleFactor: nil, mean: nil, std: nil)
        let tile = PixelSize(height: 28, width: 28)
        func refused(_ config: LlavaNextImageConfig) throws -> String? {
            _ = try LlavaNextImageProcessor(config: config)
            let error = #expect(throws: InputError.self) {
                try LlavaNextImageProcessor(config: config, as: .june2024)
            }
            return error?.item
        }
        #expect(
            try refused(
                LlavaNextImageConfig(
                    gridPinpoints: [tile], size: .shortestEdge(28), cropSize: tile,
                    cropsTiles: false, normalization: plain)) == "do_center_crop")
        #expect(
            try refused(
                LlavaNextImageConfig(
                    gridPinpoints: [tile], size: .shortestEdge(1),
                    cropSize: PixelSize(height: 1, width: 1), normalization: plain)) == "crop_size")
        // 4.41 cuts a rest off as a tile of its own, and joins features as if there were none.
        for rest in [PixelSize(height: 57, width: 56), PixelSize(height: 56, width: 27)] {
            #expect(
                try refused(
                    LlavaNextImageConfig(
                        gridPinpoints: [tile, rest], size: .shortestEdge(28), cropSize: tile,
                        normalization: plain)) == "image_grid_pinpoints")
        }
    }

    /// What a model was opened as stands in its fingerprint, beside what its activations are.
    @Test func fingerprintSaysIt() throws {
        try Converter(checkpoint: GoldenModel.llava.checkpoint, options: ConversionOptions())
            .convert(to: folder("model"))
        var seen: Set<String> = []
        for activations in Activations.allCases {
            for version in Compatibility.allCases {
                let fingerprint = try ModelFiles(
                    folder: folder("model"), activations: activations, compatibility: version
                ).fingerprint
                #expect(Activations(fingerprint: fingerprint) == activations)
                #expect(Compatibility(fingerprint: fingerprint) == version)
                seen.insert(fingerprint)
            }
        }
        #expect(seen.count == 4)
    }
}
