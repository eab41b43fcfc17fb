import Foundation
import MMQBase
import MMQImage
import Testing

@Suite("LLaVA-1.5's pictures equal transformers' CLIPImageProcessor")
struct CropImageTests {
    @Test("Pixel values, to the bit, from both kinds of settings file")
    func cropped() throws {
        let groups = try TileGoldens.groups(of: "clip")
        #expect(groups.count >= 6)
        for group in groups {
            let config = try CropImageConfig.parse(
                json: Array(group.preprocessor_config.utf8), file: "preprocessor_config.json",
                kind: "CLIPImageProcessor")
            let nested = try CropImageConfig.parse(
                json: Array(group.processor_config.utf8), file: "processor_config.json",
                kind: "CLIPImageProcessor")
            #expect(config == nested)
            let processor = try CropImageProcessor(config: config)
            for golden in group.cases {
                golden.check(
                    try processor.process(golden.image),
                    shape: [3, config.outputSize.height, config.outputSize.width],
                    name: "\(group.name) \(golden.width) x \(golden.height)")
            }
        }
    }

    private static let settings = """
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"shortest_edge": 24}, \
        "crop_size": 24
        """

    private func parse(_ more: String) throws -> CropImageConfig {
        try .parse(
            json: Array("{\(Self.settings)\(more)}".utf8), file: "p.json",
            kind: "CLIPImageProcessor")
    }

    @Test(
        "What is not supported is refused by name",
        arguments: [
            (#", "resample": 2"#, "resample"), (#", "do_pad": true"#, "do_pad"),
            (#", "image_processor_type": "LlavaImageProcessor""#, "image_processor_type"),
            (#", "do_center_crop": false"#, "do_center_crop"),
            (#", "do_center_crop": false, "do_resize": false"#, "do_center_crop"),
        ])
    func unsupported(_ more: String, _ key: String) throws {
        #expect(try parse("").outputSize == PixelSize(height: 24, width: 24))
        let error = imageError { try parse(more) }
        #expect(error?.code == .unsupported && error?.item == key && error?.file == "p.json")
    }

    @Test("Sizes that no memory holds")
    func largeSizes() throws {
        for (usual, large, key) in [
            (#"{"shortest_edge": 24}"#, "[60000, 60000]", "size"),
            (#""crop_size": 24"#, #""crop_size": 60000"#, "crop_size"),
        ] {
            let text = Self.settings.replacingOccurrences(of: usual, with: large)
            try #require(text != Self.settings)
            let config = try CropImageConfig.parse(
                json: Array("{\(text)}".utf8), file: "p.json", kind: "CLIPImageProcessor")
            #expect(imageError { try CropImageProcessor(config: config) }?.item == key)
        }
    }

    @Test("A picture that would fill all memory when its shorter side is resized")
    func longPicture() throws {
        let processor = try CropImageProcessor(config: parse(""))
        let long = 200_000
        let line = RGBImage(width: 1, height: long, pixels: Array(repeating: 9, count: long * 3))
        _ = try processor.process(line)
        let longer = PixelSize(height: .max, width: 1)
        #expect(imageError { try processor.resizedSize(of: longer) }?.code == .tooLarge)
        let square = PixelSize(height: .max, width: .max)
        #expect(try processor.resizedSize(of: square).height == processor.config.crop?.height)
        let empty = RGBImage(width: 0, height: 5, pixels: [])
        #expect(imageError { try processor.process(empty) }?.code == .empty)
    }
}
