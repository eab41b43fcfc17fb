import Foundation
import MMQBase
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
