import Foundation
import MMQBase

/// A value of a JSON file, with numbers as doubles.
enum JSONValue: Decodable, Equatable {
    case null
    case flag(Bool)
    case number(Double)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .flag(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    /// The value in a few words, for errors.
    var summary: String {
        switch self {
        case .null: "null"
        case .flag(let value): "\(value)"
        case .number(let value): "\(value)"
        case .text(let value): "\"\(value.prefix(60))\""
        case .list(let values): "a list of \(values.count)"
        case .object(let values): "an object with keys \(values.keys.sorted().prefix(8))"
        }
    }
}

/// Reads the settings of a picture processor, with errors that name file and key.
struct ImageConfigReader {
    private let file: String
    /// The keys above the settings, with a dot at the end; empty for `preprocessor_config.json`.
    private let prefix: String
    private let values: [String: JSONValue]

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
                found: other.summary)
        }
    }

    private static func topLevel(json bytes: [UInt8], file: String) throws -> [String: JSONValue] {
        let expected = "a JSON object"
        let root: JSONValue
        do {
            root = try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
        } catch {
            throw InputError(
                .corrupt, file: file, expected: expected,
                found: "not valid JSON (\(bytes.count) bytes)")
        }
        guard case .object(let top) = root else {
            throw InputError(.corrupt, file: file, expected: expected, found: root.summary)
        }
        return top
    }

    func has(_ key: String) -> Bool { value(key) != nil }

    /// The value; nil if there is none or it is null, which transformers takes for the default.
    private func value(_ key: String) -> JSONValue? {
        guard let value = values[key], value != .null else { return nil }
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
            guard case .text(let kind) = value else {
                throw wrong(key, value.summary, expected: name)
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
        guard value == .number(3) else {
            throw InputError(
                .unsupported, file: file, item: prefix + "resample", expected: "3 (bicubic)",
                found: value.summary)
        }
    }

    func flag(_ key: String, default standard: Bool) throws -> Bool {
        guard let value = value(key) else { return standard }
        guard case .flag(let flag) = value else {
            throw wrong(key, value.summary, expected: "true or false")
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
        guard case .number(let number) = value, let side = Int(exactly: number),
            (1...PixelSize.largestSide).contains(side)
        else {
            throw wrong(key, value.summary, expected: "a whole number of pixels, 1 or more")
        }
        return side
    }

    private func pair(_ value: JSONValue, _ key: String) throws -> PixelSize {
        guard case .list(let values) = value, values.count == 2 else {
            throw wrong(key, value.summary, expected: "a list of height and width")
        }
        return PixelSize(
            height: try side(values[0], key + "[0]"), width: try side(values[1], key + "[1]"))
    }

    func pixelSizes(_ key: String) throws -> [PixelSize] {
        let expected = "a list of at least one [height, width]"
        let value = try require(key, expected)
        guard case .list(let values) = value, !values.isEmpty else {
            throw wrong(key, value.summary, expected: expected)
        }
        return try values.enumerated().map { try pair($1, "\(key)[\($0)]") }
    }

    /// `size` of LLaVA-Next: an edge or a pair.
    func tileResize(_ key: String) throws -> LlavaNextImageConfig.TileResize {
        let value = try require(key, "{\"shortest_edge\": n} or {\"height\": h, \"width\": w}")
        switch value {
        case .number: return .shortestEdge(try side(value, key))
        case .object(let object) where object["shortest_edge"].map { $0 != .null } ?? false:
            try allow(["shortest_edge", "height", "width"], in: object, key)
            guard let edge = object["shortest_edge"], object["height"] == nil else {
                throw wrong(key, value.summary, expected: "either shortest_edge or height, width")
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
        case .number:
            let side = try side(value, key)
            return PixelSize(height: side, width: side)
        case .list: return try pair(value, key)
        case .object(let object):
            try allow(["height", "width"], in: object, key)
            guard let height = object["height"], let width = object["width"] else {
                throw wrong(key, value.summary, expected: expected)
            }
            return PixelSize(
                height: try side(height, key + ".height"), width: try side(width, key + ".width"))
        default: throw wrong(key, value.summary, expected: expected)
        }
    }

    private func allow(_ keys: Set<String>, in object: [String: JSONValue], _ key: String) throws {
        for (name, value) in object.sorted(by: { $0.key < $1.key })
        where value != .null && !keys.contains(name) {
            throw InputError(
                .unsupported, file: file, item: "\(prefix)\(key).\(name)",
                expected: keys.sorted().joined(separator: ", "), found: value.summary)
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
        guard case .number(let number) = value, number.isFinite else {
            throw wrong(key, value.summary, expected: "a number")
        }
        return number
    }

    /// One number for each of red, green and blue; a single one counts for all three.
    private func channels(_ key: String) throws -> [Double] {
        let expected = "three numbers"
        let value = try require(key, expected)
        if case .number(let number) = value { return [number, number, number] }
        guard case .list(let values) = value, values.count == 3 else {
            throw wrong(key, value.summary, expected: expected)
        }
        return try values.enumerated().map { index, value in
            guard case .number(let number) = value else {
                throw wrong("\(key)[\(index)]", value.summary, expected: "a number")
            }
            return number
        }
    }
}
