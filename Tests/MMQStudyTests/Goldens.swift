import Foundation
import MMQFormats
import Testing

import class Support.TemporaryFolder

@testable import MMQStudy

/// Tests/Golden/study, made by tools/goldens/study.py.
enum Golden {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Golden/study").path

    static func json(_ name: String) throws -> JSONValue {
        try JSONValue(file: folder + "/" + name)
    }
}

extension JSONValue {
    func texts() throws -> [String] {
        try #require(asList).map { try #require($0.asText) }
    }

    func integers() throws -> [Int] {
        try #require(asList).map { try #require($0.asInteger) }
    }

    func list() throws -> [JSONValue] { try #require(asList) }

    func at(_ key: String) throws -> JSONValue { try #require(self[key], "no \(key)") }

    /// A float stored as the hexadecimal digits of its bits.
    func double() throws -> Double {
        let digits = try #require(asText)
        return Double(bitPattern: try #require(UInt64(digits, radix: 16)))
    }
}

typealias TemporaryFolder = Support.TemporaryFolder

extension TemporaryFolder {
    func write(_ text: String, to name: String) throws {
        let file = path + "/" + name
        try FileManager.default.createDirectory(
            atPath: URL(fileURLWithPath: file).deletingLastPathComponent().path,
            withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    }
}
