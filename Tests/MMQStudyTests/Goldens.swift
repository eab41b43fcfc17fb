import Foundation
import MMQFormats
import Testing

@testable import MMQStudy

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
