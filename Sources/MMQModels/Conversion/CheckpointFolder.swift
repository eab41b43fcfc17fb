import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// The small files of a Hugging Face folder, each read as transformers 5 reads it.
struct CheckpointFolder {
    let path: String

    func file(_ name: String) -> String { (path as NSString).appendingPathComponent(name) }

    func has(_ name: String) -> Bool { exists(file(name)) }

    /// The last component of the folder's path, for `general.name`.
    var name: String {
        let url = URL(fileURLWithPath: path).standardizedFileURL
        return url.lastPathComponent
    }

    /// The picture processor's settings and the file they come from: `processor_config.json` where
    /// it holds them (under "image_processor", and not null), else `preprocessor_config.json`.
    /// (Older checkpoints have both files, and then the first holds other settings.)
    ///
    /// - Throws: `InputError` if neither file has any, or the one that counts cannot be read.
    func imageProcessor() throws -> (json: [UInt8], file: String) {
        let new = file("processor_config.json")
        if has("processor_config.json") {
            let bytes = try readSmallFile(new)
            if try JSONValue(parsing: bytes, file: new)["image_processor"] ?? .null != .null {
                return (bytes, new)
            }
        }
        let old = file("preprocessor_config.json")
        guard has("preprocessor_config.json") else {
            throw InputError(
                .unreadable, file: path,
                expected: "preprocessor_config.json, or image_processor in processor_config.json",
                found: "neither")
        }
        return (try readSmallFile(old), old)
    }

    /// Ids that end an answer: `eos_token_id` of `generation_config.json`; nil where that is missing.
    func endTokenIDs() throws -> [Int32]? {
        let name = file("generation_config.json")
        guard has("generation_config.json") else { return nil }
        let value = try JSONValue(file: name)["eos_token_id"] ?? .null
        let list: [JSONValue]
        switch value {
        case .null: return nil
        case .array(let values): list = values
        default: list = [value]
        }
        return try list.map {
            guard case .integer(let id) = $0, let id = Int32(exactly: id) else {
                throw InputError(
                    .badValue, file: name, item: "eos_token_id",
                    expected: "a token id or a list of them", found: $0.kind)
            }
            return id
        }
    }
}
