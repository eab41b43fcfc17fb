import Foundation
import MMQBase

/// Reads the settings of a picture processor, with errors that name file and key.
struct ImageConfigReader {
    private let file: String
    /// The keys above the settings, with a dot at the end; empty for `preprocessor_config.json`.
    private let prefix: String
    private let values: JSONObject

    init(json bytes: [UInt8], file: String) throws {
        let top = try Self.topLevel(json: bytes, file: file)
        self.file = file
        switch top["image_processor"] {
        case .object(let nested):
            prefix = "image_processor."
            values = nested
        case nil, .null:
            prefix = ""
            values = top
        case .some(let other):
            throw InputError(
                .badValue, file: file, item: "image_processor", expected: "an object",
                found: other.kind)
        }
    }

    private static func topLevel(json bytes: [UInt8], file: String) throws -> JSONObject {
        let root = try JSONValue(parsing: bytes, file: file)
        guard case .object(let top) = root else {
            throw InputError(
                .badHeader, file: file, expected: "a JSON object", found: root.kind)
        }
        return top
    }

    func has(_ key: String) -> Bool { value(key) != nil }

    /// The value; nil if there is none or it is null, which transformers takes for the default.
    private func value(_ key: String) -> JSONValue? {
        guard let value = values[key], !value.isNull else { return nil }
        return value
    }

    private func require(_ key: String, _ expected: String) throws -> JSONValue {
        guard let value = value(key) else {
            throw InputError(
                .missingKey, file: file, item: prefix + key, expected: expected,
                found: "there is no such key")
        }
        return value
    }

    private func wrong(_ key: String, _ found: String, expected: String) -> InputError {
        InputError(.badValue, file: file, item: prefix + key, expected: expected, found: found)
    }

    /// Checks that the file is for this processor, whatever its implementation ("Fast", "Pil").
    func requireKind(_ name: String) throws {
        for key in ["image_processor_type", "feature_extractor_type"] {
            guard let value = value(key) else { continue }
            guard case .string(let kind) = value else {
                throw wrong(key, value.kind, expected: name)
            }
            let bases = [
                name, name.replacingOccurrences(of: "ImageProcessor", with: "FeatureExtractor"),
            ]
            guard bases.contains(where: { [$0, $0 + "Fast", $0 + "Pil"].contains(kind) }) else {
                throw InputError(
                    .unsupported, file: file, item: prefix + key, expected: name, found: kind)
            }
            return
        }
    }

    /// Checks `resample`: 3 is Pillow's number for bicubic, and the default.
    func requireBicubic() throws {
        guard let value = value("resample") else { return }
        guard value.double == 3 else {
            throw InputError(
                .unsupported, file: file, item: prefix + "resample", expected: "3 (bicubic)",
                found: value.kind)
        }
    }

    func flag(_ key: String, default standard: Bool) throws -> Bool {
        guard let value = value(key) else { return standard }
        guard case .bool(let flag) = value else {
            throw wrong(key, value.kind, expected: "true or false")
        }
        return flag
    }

    /// Refuses a step that is not implemented.
    func requireFlag(_ key: String, _ required: Bool, default standard: Bool) throws {
        guard try flag(key, default: standard) == required else {
            throw InputError(
                .unsupported, file: file, item: prefix + key, expected: "\(required)",
                found: "\(!required)")
        }
    }

    private func side(_ value: JSONValue, _ key: String) throws -> Int {
        guard let side = value.double.flatMap(Int.init(exactly:)),
            (1...PixelSize.largestSide).contains(side)
        else {
            throw wrong(key, value.kind, expected: "a whole number of pixels, 1 or more")
        }
        return side
    }

    private func pair(_ value: JSONValue, _ key: String) throws -> PixelSize {
        guard case .array(let values) = value, values.count == 2 else {
            throw wrong(key, value.kind, expected: "a list of height and width")
        }
        return PixelSize(
            height: try side(values[0], key + "[0]"), width: try side(values[1], key + "[1]"))
    }

    func pixelSizes(_ key: String) throws -> [PixelSize] {
        let expected = "a list of at least one [height, width]"
        let value = try require(key, expected)
        guard case .array(let values) = value, !values.isEmpty else {
            throw wrong(key, value.kind, expected: expected)
        }
        return try values.enumerated().map { try pair($1, "\(key)[\($0)]") }
    }

    /// A size to resize to: an edge or a pair.
    func imageResize(_ key: String) throws -> ImageResize {
        let value = try require(key, "{\"shortest_edge\": n} or {\"height\": h, \"width\": w}")
        switch value {
        case .integer, .number: return .shortestEdge(try side(value, key))
        case .object(let object) where object["shortest_edge"].map { !$0.isNull } ?? false:
            try allow(["shortest_edge", "height", "width"], in: object, key)
            guard let edge = object["shortest_edge"], object["height"] == nil else {
                throw wrong(key, value.kind, expected: "either shortest_edge or height, width")
            }
            return .shortestEdge(try side(edge, key + ".shortest_edge"))
        default: return .exact(try squareOrSize(key))
        }
    }

    /// A size as one number (a square), as a list, or as an object of height and width.
    func squareOrSize(_ key: String) throws -> PixelSize {
        let expected = "{\"height\": h, \"width\": w}"
        let value = try require(key, expected)
        switch value {
        case .integer, .number:
            let side = try side(value, key)
            return PixelSize(height: side, width: side)
        case .array: return try pair(value, key)
        case .object(let object):
            try allow(["height", "width"], in: object, key)
            guard let height = object["height"], let width = object["width"] else {
                throw wrong(key, value.kind, expected: expected)
            }
            return PixelSize(
                height: try side(height, key + ".height"), width: try side(width, key + ".width"))
        default: throw wrong(key, value.kind, expected: expected)
        }
    }

    private func allow(_ keys: Set<String>, in object: JSONObject, _ key: String) throws {
        for (name, value) in object.members.sorted(by: { $0.key < $1.key })
        where !value.isNull && !keys.contains(name) {
            throw InputError(
                .unsupported, file: file, item: "\(prefix)\(key).\(name)",
                expected: keys.sorted().joined(separator: ", "), found: value.kind)
        }
    }

    func normalization() throws -> PixelNormalization {
        var factor: Double?
        if try flag("do_rescale", default: true) {
            factor = try number("rescale_factor", default: 1.0 / 255.0)
        }
        guard try flag("do_normalize", default: true) else {
            return PixelNormalization(rescaleFactor: factor, mean: nil, std: nil)
        }
        let mean = try channels("image_mean")
        let std = try channels("image_std")
        if let zero = std.firstIndex(where: { Float($0) == 0 }) {
            throw wrong("image_std[\(zero)]", "\(std[zero])", expected: "not zero")
        }
        return PixelNormalization(rescaleFactor: factor, mean: mean, std: std)
    }

    private func number(_ key: String, default standard: Double) throws -> Double {
        guard let value = value(key) else { return standard }
        guard let number = value.double else {
            throw wrong(key, value.kind, expected: "a number")
        }
        return number
    }

    /// One number for each of red, green and blue; a single one counts for all three.
    private func channels(_ key: String) throws -> [Double] {
        let expected = "three numbers"
        let value = try require(key, expected)
        if let number = value.double { return [number, number, number] }
        guard case .array(let values) = value, values.count == 3 else {
            throw wrong(key, value.kind, expected: expected)
        }
        return try values.enumerated().map { index, value in
            guard let number = value.double else {
                throw wrong("\(key)[\(index)]", value.kind, expected: "a number")
            }
            return number
        }
    }
}
