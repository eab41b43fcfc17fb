import Foundation
import MMQBase
import MMQFormats

/// Reads typed values out of a `config.json`; every error names the file and the JSON path.
struct ConfigReader {
    /// The file, for errors.
    let file: String
    /// Dotted path of this object, empty at the top.
    let path: String
    let object: JSONObject

    init(_ json: JSONValue, file: String) throws {
        guard case .object(let object) = json else {
            throw InputError(
                .badValue, file: file, expected: "a JSON object", found: json.kind)
        }
        self.init(file: file, path: "", object: object)
    }

    private init(file: String, path: String, object: JSONObject) {
        self.file = file
        self.path = path
        self.object = object
    }

    /// The JSON path of `key`.
    func item(_ key: String) -> String { path.isEmpty ? key : path + "." + key }

    /// The value of `key`, nil if it is missing or null.
    func value(_ key: String) -> JSONValue? {
        let value = object[key]
        return value == .null ? nil : value
    }

    /// Whether `key` is there and null.
    func isNull(_ key: String) -> Bool { object[key] == .null }

    /// An error about `key`.
    func wrong(
        _ key: String, _ expected: String, _ found: JSONValue?, _ code: InputError.Code = .badValue
    ) -> InputError {
        InputError(
            found == nil ? .missingKey : code, file: file, item: item(key), expected: expected,
            found: found?.kind ?? "no such key")
    }

    /// The nested object of `key`; nil if it is missing or null.
    func section(_ key: String) throws -> ConfigReader? {
        guard let value = value(key) else { return nil }
        guard case .object(let object) = value else { throw wrong(key, "an object", value) }
        return ConfigReader(file: file, path: item(key), object: object)
    }

    /// An empty object in the place of `key`, so that every value takes its default.
    func emptySection(_ key: String) -> ConfigReader {
        ConfigReader(file: file, path: item(key), object: JSONObject())
    }

    /// A positive integer below 2^31; `fallback` where the key is missing, an error if there is none.
    func positive(_ key: String, _ fallback: Int? = nil) throws -> Int {
        try integer(key, in: 1...Int(Int32.max), "a positive integer", fallback)
    }

    /// More layers than this is a broken or hostile file: tables are built from the number.
    static let layerRange = 1...4096

    /// A number of layers.
    func layers(_ key: String, _ fallback: Int) throws -> Int {
        try integer(key, in: Self.layerRange, "a positive integer up to 4096", fallback)
    }

    /// An integer within a range.
    func integer(
        _ key: String, in range: ClosedRange<Int>, _ words: String, _ fallback: Int? = nil
    ) throws -> Int {
        let value = value(key)
        if value == nil, let fallback { return fallback }
        guard case .integer(let number) = value, range.contains(number) else {
            throw wrong(key, words, value)
        }
        return number
    }

    /// A positive finite number as f32.
    func positiveNumber(_ key: String, _ fallback: Float? = nil) throws -> Float {
        let value = value(key)
        let number: Float
        switch value {
        case nil where fallback != nil: return fallback ?? 0
        case .integer(let integer): number = Float(integer)
        case .number(let double): number = Float(double)
        default: throw wrong(key, "a positive number", value)
        }
        guard number > 0, number.isFinite else { throw wrong(key, "a positive number", value) }
        return number
    }

    /// A boolean.
    func bool(_ key: String, _ fallback: Bool) throws -> Bool {
        guard let value = value(key) else { return fallback }
        guard case .bool(let flag) = value else { throw wrong(key, "true or false", value) }
        return flag
    }

    /// One of some strings.
    func choice(_ key: String, _ choices: [String], _ fallback: String) throws -> String {
        guard let value = value(key) else { return fallback }
        guard case .string(let text) = value, choices.contains(text) else {
            throw wrong(
                key, choices.map { "\"\($0)\"" }.joined(separator: " or "), value, .unsupported)
        }
        return text
    }

    /// Requires a switch that mmq does not implement to be off.
    func mustBeFalse(_ key: String) throws {
        guard try !bool(key, false) else {
            throw wrong(key, "false (nothing else is supported)", value(key), .unsupported)
        }
    }
}
