import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// Picture settings, template and stop tokens in the vision file.
///
/// The settings are kept as the checkpoint's own JSON, so that reading them from a model folder and
/// from a checkpoint is the same code. `clip.vision.image_mean` and `image_std` repeat two of them
/// for other programs.
enum ProcessorMetadata {
    static let imageKey = "mmq.image_processor"
    static let imageFileKey = "mmq.image_processor.file"
    static let templateKey = "mmq.chat_template"
    static let endTokensKey = "mmq.generation.eos_token_ids"

    static func read(
        _ folder: CheckpointFolder, model: ModelDescription
    ) throws -> [(key: String, value: GGUFValue)] {
        let (json, file) = try folder.imageProcessor()
        let normalization: PixelNormalization
        let template: String
        switch model {
        case .llavaNext(let config):
            let images = try LlavaNextImageConfig.parse(json: json, file: file)
            try config.check(images, file: file)
            normalization = images.normalization
            template = "vicuna"
        case .instructBLIP(let config):
            let images = try SquashImageConfig.parse(json: json, file: file)
            try config.check(images, file: file)
            normalization = images.normalization
            template = "none"
        }
        var members: [(key: String, value: GGUFValue)] = []
        if let mean = normalization.mean, let std = normalization.std {
            members.append(("clip.vision.image_mean", .floats(mean.map { Float($0) })))
            members.append(("clip.vision.image_std", .floats(std.map { Float($0) })))
        }
        members.append((imageKey, .bytes(json)))
        members.append((imageFileKey, .string((file as NSString).lastPathComponent)))
        members.append((templateKey, .string(template)))
        if let ids = try folder.endTokenIDs() { members.append((endTokensKey, .int32s(ids))) }
        return members
    }
}

extension LlavaNextConfig {
    /// Checks that the tiles that picture settings make are those that the tower takes.
    func check(_ images: LlavaNextImageConfig, file: String) throws {
        try vision.check(images.outputSize, what: "tiles", file: file)
    }
}

extension InstructBLIPConfig {
    /// Checks that the pictures that picture settings make are those that the tower takes.
    func check(_ images: SquashImageConfig, file: String) throws {
        try vision.check(images.size, what: "pictures", file: file)
    }
}

extension VisionTowerConfig {
    fileprivate func check(_ size: PixelSize, what: String, file: String) throws {
        guard size.height == imageSize, size.width == imageSize else {
            throw InputError(
                .badValue, file: file, item: "picture settings (size, crop_size)",
                expected: "\(what) of \(imageSize) x \(imageSize), the tower's image_size",
                found: "\(size.height) x \(size.width)")
        }
    }
}

extension ModelFiles {
    /// The picture processor's settings, as the checkpoint's JSON, and a name for errors about them.
    private func imageProcessor() throws -> (json: [UInt8], file: String) {
        let key = ProcessorMetadata.imageKey
        guard case .bytes(let json) = vision.metadata[key] else {
            throw InputError(.missingKey, file: vision.path, item: "key '\(key)'")
        }
        return (json, "\(vision.path): key '\(key)'")
    }

    /// LLaVA-Next's picture settings.
    public func llavaNextImageConfig() throws -> LlavaNextImageConfig {
        let (json, file) = try imageProcessor()
        return try LlavaNextImageConfig.parse(json: json, file: file)
    }

    /// InstructBLIP's picture settings.
    public func squashImageConfig() throws -> SquashImageConfig {
        let (json, file) = try imageProcessor()
        return try SquashImageConfig.parse(json: json, file: file)
    }

    /// The name of the template that the model puts round a user's words: `vicuna` or `none`.
    public func chatTemplateName() throws -> String {
        try vision.metadata.string(ProcessorMetadata.templateKey)
    }

    /// Ids that end an answer, as `generation_config.json` had them; nil if it had none.
    public func endTokenIDs() throws -> [Int32]? {
        let key = ProcessorMetadata.endTokensKey
        guard vision.metadata[key] != nil else { return nil }
        return try vision.metadata.integers(key).map { Int32(clamping: $0) }
    }
}
