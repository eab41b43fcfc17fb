import Foundation
import MMQBase

/// Finds the settings of a checkpoint's picture processor as transformers does.
enum ImageConfigFiles {
    /// The bytes and the path of the file that counts: `processor_config.json` if it has settings
    /// under "image_processor" (transformers 5), else `preprocessor_config.json`. (Older
    /// checkpoints have both files, and then the first holds other settings.)
    ///
    /// - Throws: ``InputError`` if neither file is there, or the one that counts cannot be read.
    static func settings(in folder: String) throws -> (bytes: [UInt8], file: String) {
        let base = URL(fileURLWithPath: folder)
        let nested = base.appendingPathComponent("processor_config.json").path
        if exists(nested) {
            let bytes = try readSmallFile(nested)
            if try ImageConfigReader.hasNestedSettings(json: bytes, file: nested) {
                return (bytes, nested)
            }
        }
        let flat = base.appendingPathComponent("preprocessor_config.json").path
        guard exists(flat) else {
            throw InputError(
                .unreadable, file: folder,
                expected: "preprocessor_config.json, or processor_config.json with image_processor",
                found: "no settings of a picture processor")
        }
        return (try readSmallFile(flat), flat)
    }
}

extension LlavaNextImageConfig {
    /// Reads the settings of a checkpoint folder, from `processor_config.json` or
    /// `preprocessor_config.json`, whichever transformers would take.
    ///
    /// - Throws: ``InputError``, as ``parse(json:file:kind:)``, or if there are no such files.
    public static func load(folder: String, kind: String) throws -> LlavaNextImageConfig {
        let settings = try ImageConfigFiles.settings(in: folder)
        return try parse(json: settings.bytes, file: settings.file, kind: kind)
    }
}

extension SquashImageConfig {
    /// Reads the settings of a checkpoint folder, from `processor_config.json` or
    /// `preprocessor_config.json`, whichever transformers would take.
    ///
    /// - Throws: ``InputError``, as ``parse(json:file:kind:)``, or if there are no such files.
    public static func load(folder: String, kind: String) throws -> SquashImageConfig {
        let settings = try ImageConfigFiles.settings(in: folder)
        return try parse(json: settings.bytes, file: settings.file, kind: kind)
    }
}
