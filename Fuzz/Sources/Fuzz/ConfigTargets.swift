import Foundation
import MMQBase
import MMQFormats
import MMQImage

@testable import MMQModels

extension Targets {
    /// The descriptions in a checkpoint folder: read by themselves, and of eight inputs one for an
    /// inspection and one for a conversion without its writing, which read tokenizers and weights
    /// too and take ten times as long.
    static func config() throws -> Target {
        let folders = FolderCases()
        for name in [
            "llava-next/hub-f16", "llava-next/shards-f16", "instructblip/hub-f32",
            "instructblip/new-f16", "llava-1.5/hub-f16", "llava-1.5/plain-f32", "lingo-judge/plain",
        ] {
            try folders.add(
                name + "/checkpoint",
                files: [
                    "config.json", "generation_config.json", "model.safetensors.index.json",
                    "processor_config.json", "preprocessor_config.json", "chat_template.json",
                    "chat_template.jinja",
                ])
        }
        return folders.target { chosen, choice in
            switch choice % 8 {
            case 6: break
            case 7:
                let inspection = try Inspection(path: chosen.folder)
                return precondition(inspection.problems.allSatisfy { $0.utf8.count < 4096 })
            default: return try describe(chosen)
            }
            let options = ConversionOptions(type: .q8_0)
            if try JudgeConverter.accepts(checkpoint: chosen.folder) {
                _ = try JudgeConverter(checkpoint: chosen.folder, options: options)
            } else {
                _ = try Converter(checkpoint: chosen.folder, options: options)
            }
        }
    }

    /// Reads what describes a model, and where its weights are if the input says that.
    private static func describe(_ chosen: FolderCases.Case) throws {
        let folder = CheckpointFolder(path: chosen.folder)
        let config = folder.file("config.json")
        if chosen.file.hasSuffix("index.json") {
            _ = try SafetensorsCheckpoint(folder: chosen.folder)
        } else if try JudgeConverter.accepts(checkpoint: chosen.folder) {
            _ = try LingoJudgeConfig(json: JSONValue(file: config), file: config)
        } else {
            let model = try Architectures.configuration(configFile: config)
            let template = model.architecture.chatTemplate(try folder.template())
            _ = try ProcessorMetadata.read(folder, model: model, template: template)
        }
    }

    private static func tile(
        _ picture: RGBImage, _ config: LlavaNextImageConfig, as version: Compatibility
    ) throws {
        let processor = try LlavaNextImageProcessor(config: config, as: version)
        let size = PixelSize(height: picture.height, width: picture.width)
        let grid = LlavaNextGeometry.bestResolution(for: size, of: config.gridPinpoints)
        // Larger results take as long as their size says: no finding.
        guard let grid, config.outputSize.height <= 512, config.outputSize.width <= 512,
            grid.height <= 512, grid.width <= 512,
            config.baseSize.height <= 512, config.baseSize.width <= 512
        else { return }
        let tiles = (grid.height / config.tileSide + 2) * (grid.width / config.tileSide + 2)
        guard tiles * config.outputSize.height * config.outputSize.width <= 1 << 16
        else { return }
        let tiling = try processor.process(picture)
        // What the model takes for granted when it joins the tiles' features.
        precondition(tiling.tiles == tiling.gridRows * tiling.gridColumns + 1)
    }

    /// Picture settings, and a small picture processed as they say.
    static func processor() -> Target {
        let picture = RGBImage(
            width: 9, height: 7, pixels: (0..<9 * 7 * 3).map { UInt8(truncatingIfNeeded: $0 * 7) })
        return Target {
            try Golden.files("", ending: "preprocessor_config.json", "processor_config.json")
                .map { Seed($0.replacingOccurrences(of: "/", with: "-"), try Golden.bytes($0)) }
        } run: { input in
            attempt {
                let config = try LlavaNextImageConfig.parse(
                    json: input, file: "settings", kind: "LlavaNextImageProcessor")
                for version in Compatibility.allCases {
                    attempt { try tile(picture, config, as: version) }
                }
            }
            attempt {
                let config = try CropImageConfig.parse(
                    json: input, file: "settings", kind: "CLIPImageProcessor")
                let size = try CropImageProcessor(config: config).resizedSize(
                    of: PixelSize(height: 7, width: 9))
                guard size.height <= 256, size.width <= 256, config.outputSize.height <= 256,
                    config.outputSize.width <= 256
                else { return }
                _ = try CropImageProcessor(config: config).process(picture)
            }
            let config = try SquashImageConfig.parse(
                json: input, file: "settings", kind: "BlipImageProcessor")
            let processor = try SquashImageProcessor(config: config)
            if config.size.height <= 256, config.size.width <= 256 {
                _ = try processor.process(picture)
            }
        }
    }
}
