import Foundation
import MMQBase
import MMQFormats
import Testing

@testable import MMQStudy

extension JSONValue {
    func texts() throws -> [String] {
        try #require(array).map { try #require($0.text) }
    }

    func integers() throws -> [Int] {
        try #require(array).map { try #require($0.integer) }
    }

    func list() throws -> [JSONValue] { try #require(array) }

    func at(_ key: String) throws -> JSONValue { try #require(self[key], "no \(key)") }

    /// A float stored as the hexadecimal digits of its bits.
    func double() throws -> Double {
        let digits = try #require(text)
        return Double(bitPattern: try #require(UInt64(digits, radix: 16)))
    }
}
