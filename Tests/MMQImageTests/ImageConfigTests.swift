import Foundation
import MMQImage
import Testing

@Suite("Settings files of picture processors")
struct ImageConfigTests {
    static var llava: [String: Any] {
        [
            "image_processor_type": "LlavaNextImageProcessor",
            "image_grid_pinpoints": [[336, 672], [672, 336]],
            "size": ["shortest_edge": 336],
            "crop_size": ["height": 336, "width": 336],
            "do_resize": true, "do_center_crop": true, "do_rescale": true, "do_normalize": true,
            "do_pad": true, "do_convert_rgb": true, "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        ]
    }
    static var blip: [String: Any] {
        [
            "image_processor_type": "BlipImageProcessor",
            "size": ["height": 224, "width": 224],
            "do_resize": true, "do_rescale": true, "do_normalize": true, "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        ]
    }

    private func bytes(_ settings: [String: Any], nested: Bool = false) throws -> [UInt8] {
        let object: [String: Any] = nested ? ["image_processor": settings] : settings
        return Array(try JSONSerialization.data(withJSONObject: object))
    }

    private func parse(_ settings: [String: Any], nested: Bool = false) throws
        -> LlavaNextImageConfig
    {
        try LlavaNextImageConfig.parse(
            json: bytes(settings, nested: nested), file: "p.json", kind: "LlavaNextImageProcessor")
    }

    @Test("Numbers come through exactly")
    func values() throws {
        let config = try parse(Self.llava)
        #expect(config.gridPinpoints.map(\.height) == [336, 672])
        #expect(config.gridPinpoints.map(\.width) == [672, 336])
        #expect(config.size == .shortestEdge(336))
        #expect(config.cropSize == PixelSize(height: 336, width: 336))
        #expect(config.normalization.rescaleFactor == 1.0 / 255.0)
        #expect(config.normalization.mean == [0.48145466, 0.4578275, 0.40821073])
        #expect(config.normalization.std == [0.26862954, 0.26130258, 0.27577711])
    }

    @Test("Settings survive Codable")
    func codable() throws {
        let config = try parse(Self.llava)
        let data = try JSONEncoder().encode(config)
        #expect(try JSONDecoder().decode(LlavaNextImageConfig.self, from: data) == config)
    }

    @Test("Old spellings: sizes as numbers, processors by other names, flags left out")
    func oldSpellings() throws {
        var settings = Self.llava
        settings["size"] = 336
        settings["crop_size"] = 336
        settings["image_processor_type"] = "LlavaNextImageProcessorFast"
        for key in ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad"] {
            settings[key] = nil
        }
        settings["resample"] = nil
        settings["rescale_factor"] = NSNull()
        #expect(try parse(settings) == parse(Self.llava))
    }

    @Test(
        "A key that is missing is named",
        arguments: ["image_grid_pinpoints", "size", "crop_size", "image_mean", "image_std"])
    func missing(key: String) throws {
        var settings = Self.llava
        settings[key] = nil
        let flat = imageError { try parse(settings) }
        #expect(flat?.code == .missingKey)
        #expect(flat?.item == key)
        #expect(flat?.file == "p.json")
        let nested = imageError { try parse(settings, nested: true) }
        #expect(nested?.item == "image_processor.\(key)")
    }

    @Test("A value that cannot be used is named")
    func wrong() throws {
        let wrong: [(String, Any, String)] = [
            ("image_grid_pinpoints", [Any](), "image_grid_pinpoints"),
            ("image_grid_pinpoints", [[336]], "image_grid_pinpoints[0]"),
            ("image_grid_pinpoints", [[336, 336], [0, 336]], "image_grid_pinpoints[1][0]"),
            ("image_grid_pinpoints", [[336, 1e12]], "image_grid_pinpoints[0][1]"),
            ("size", ["shortest_edge": -1], "size.shortest_edge"),
            ("size", ["shortest_edge": 3.5], "size.shortest_edge"),
            ("size", "large", "size"),
            ("crop_size", ["height": 3], "crop_size"),
            ("do_resize", 1, "do_resize"),
            ("do_rescale", "yes", "do_rescale"),
            ("rescale_factor", "1/255", "rescale_factor"),
            ("image_mean", [0.5, 0.5], "image_mean"),
            ("image_std", [0.5, 0.0, 0.5], "image_std[1]"),
            ("image_std", [0.5, 0.5, "x"], "image_std[2]"),
        ]
        for (key, value, named) in wrong {
            var settings = Self.llava
            settings[key] = value
            let error = imageError { try parse(settings) }
            #expect(error?.code == .badValue, "\(key)")
            #expect(error?.item == named, "\(key)")
        }
    }

    @Test("What is not supported is named")
    func unsupported() throws {
        let llava: [(String, Any, String)] = [
            ("resample", 2, "resample"),
            ("image_processor_type", "CLIPImageProcessor", "image_processor_type"),
            ("size", ["longest_edge": 336], "size.longest_edge"),
            ("size", ["shortest_edge": 336, "longest_edge": 500], "size.longest_edge"),
        ]
        for (key, value, named) in llava {
            var settings = Self.llava
            settings[key] = value
            let error = imageError { try parse(settings) }
            #expect(error?.code == .unsupported, "\(key)")
            #expect(error?.item == named, "\(key)")
        }
        let blip: [(String, Any, String)] = [
            ("resample", 2, "resample"), ("do_resize", false, "do_resize"),
            ("do_center_crop", true, "do_center_crop"), ("do_pad", true, "do_pad"),
            ("image_processor_type", "LlavaNextImageProcessor", "image_processor_type"),
            ("size", ["shortest_edge": 224], "size.shortest_edge"),
        ]
        #expect(
            try SquashImageConfig.parse(
                json: bytes(Self.blip), file: "b", kind: "BlipImageProcessor"
            ).size
                == PixelSize(height: 224, width: 224))
        for (key, value, named) in blip {
            var settings = Self.blip
            settings[key] = value
            let error = imageError {
                try SquashImageConfig.parse(
                    json: bytes(settings), file: "b.json", kind: "BlipImageProcessor")
            }
            #expect(error?.code == .unsupported, "\(key)")
            #expect(error?.item == named, "\(key)")
        }
    }

    @Test("What is no settings file at all")
    func notSettings() {
        for text in ["", "{", "[1]", "3", "{\"image_processor\": 3}", "\u{0}"] {
            let error = imageError {
                try LlavaNextImageConfig.parse(
                    json: Array(text.utf8), file: "x.json", kind: "LlavaNextImageProcessor")
            }
            #expect(error?.file == "x.json")
        }
    }

    @Test("Settings that cannot give tiles of one size are refused")
    func unusable() throws {
        let plain = PixelNormalization(rescaleFactor: nil, mean: nil, std: nil)
        let side = PixelSize(height: 28, width: 28)
        func check(_ config: LlavaNextImageConfig, _ key: String) {
            #expect(imageError { try LlavaNextImageProcessor(config: config) }?.item == key)
        }
        check(
            LlavaNextImageConfig(
                gridPinpoints: [], size: .shortestEdge(28), cropSize: side, normalization: plain),
            "image_grid_pinpoints")
        check(
            LlavaNextImageConfig(
                gridPinpoints: [side], size: .shortestEdge(28), cropSize: nil,
                normalization: plain), "crop_size")
        check(
            LlavaNextImageConfig(
                gridPinpoints: [side], size: .shortestEdge(0), cropSize: side,
                normalization: plain), "size")
        check(
            LlavaNextImageConfig(
                gridPinpoints: [PixelSize(height: 28, width: 50)], size: .shortestEdge(28),
                cropSize: side, cropsTiles: false, normalization: plain), "image_grid_pinpoints")
        // More memory than any machine has.
        check(
            LlavaNextImageConfig(
                gridPinpoints: [PixelSize(height: 60_000, width: 60_000)], size: .shortestEdge(28),
                cropSize: side, normalization: plain), "image_grid_pinpoints")
        check(
            LlavaNextImageConfig(
                gridPinpoints: [PixelSize(height: 1, width: 60_000)], size: .shortestEdge(60_000),
                cropSize: PixelSize(height: 60_000, width: 1), normalization: plain),
            "image_grid_pinpoints")
    }

    @Test("Stored settings with the wrong number of channels are refused")
    func wrongChannels() throws {
        let stored =
            "{\"size\":{\"height\":2,\"width\":2},\"normalization\":{\"mean\":[1],\"std\":[1]}}"
        let config = try JSONDecoder().decode(SquashImageConfig.self, from: Data(stored.utf8))
        #expect(imageError { try SquashImageProcessor(config: config) }?.item == "image_mean")
    }
}
