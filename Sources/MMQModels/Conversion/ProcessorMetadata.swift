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
        _ folder: CheckpointFolder, model: any ModelConfiguration, template: ChatTemplate
    ) throws -> [(key: String, value: GGUFValue)] {
        let (json, file) = try folder.imageProcessor()
        let normalization = try model.pixelNormalization(settings: json, file: file)
        var members: [(key: String, value: GGUFValue)] = []
        if let mean = normalization.mean, let std = normalization.std {
            members.append(("clip.vision.image_mean", .floats(mean.map { Float($0) })))
            members.append(("clip.vision.image_std", .floats(std.map { Float($0) })))
        }
        members.append((imageKey, .bytes(json)))
        members.append((imageFileKey, .string((file as NSString).lastPathComponent)))
        members.append((templateKey, .string(template.rawValue)))
        if let ids = try folder.endTokenIDs() { members.append((endTokensKey, .int32s(ids))) }
        return members
    }
}

extension VisionTowerConfig {
    /// Checks that what picture settings make is what the tower takes.
    func check(_ size: PixelSize, what: String, file: String) throws {
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
    func imageProcessor() throws -> (json: [UInt8], file: String) {
        let key = ProcessorMetadata.imageKey
        guard case .bytes(let json) = vision.metadata[key] else {
            throw InputError(.missingKey, file: vision.path, item: "key '\(key)'")
        }
        return (json, "\(vision.path): key '\(key)'")
    }

    /// Ids that end an answer, as `generation_config.json` had them; nil if it had none.
    public func endTokenIDs() throws -> [Int32]? {
        let key = ProcessorMetadata.endTokensKey
        guard vision.metadata[key] != nil else { return nil }
        return try vision.metadata.integers(key).map { Int32(clamping: $0) }
    }
}
