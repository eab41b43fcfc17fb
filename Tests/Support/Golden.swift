import Foundation
import MMQFormats
import Testing

/// Files that tools/ generated from the reference implementation, below Tests/Golden.
public enum Golden {
    /// The folder Tests/Golden.
    public static let folder: String = {
        let file = URL(fileURLWithPath: #filePath)  // Tests/Support/Golden.swift
        return file.deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Golden").path
    }()

    /// The folder of the whole repository.
    public static let repository = URL(fileURLWithPath: folder)
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// The path of a file or folder below Tests/Golden; a missing one fails the test.
    public static func path(
        _ name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let path = folder + "/" + name
        try #require(
            FileManager.default.fileExists(atPath: path), "golden \(name) is missing",
            sourceLocation: sourceLocation)
        return path
    }

    /// The bytes of a golden file.
    public static func bytes(
        _ name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [UInt8] {
        let file = try path(name, sourceLocation: sourceLocation)
        return Array(try Data(contentsOf: URL(fileURLWithPath: file)))
    }

    /// A golden safetensors file.
    public static func tensors(
        _ name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> SafetensorsFile {
        try SafetensorsFile(path: path(name, sourceLocation: sourceLocation))
    }

    /// A golden JSON file.
    public static func json(
        _ name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> JSONValue {
        try JSONValue(file: path(name, sourceLocation: sourceLocation))
    }
}

extension JSONValue {
    /// The string, or nil.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The integer, or nil.
    public var integer: Int? { if case .integer(let value) = self { Int(value) } else { nil } }
    /// The number, integers included, or nil.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
    /// The boolean, or nil.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The elements, or nil.
    public var list: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
    /// The members, or nil.
    public var members: [(key: String, value: JSONValue)]? {
        if case .object(let object) = self { object.members } else { nil }
    }
}
