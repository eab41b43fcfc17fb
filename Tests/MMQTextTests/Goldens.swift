import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

/// The goldens of Tests/Golden/text; SCHEMA.md there says what they hold.
enum Goldens {
    static let folder = Golden.folder + "/text"
    static let shared = Golden.repository + "/../shared/data"

    /// A file of Tests/Golden/text, or of another folder of Tests/Golden.
    static func json(_ name: String, of part: String = "text") throws -> JSONValue {
        let path = try Golden.path(part + "/" + name)
        return try JSONValue(parsing: try Golden.bytes(part + "/" + name), file: path)
    }

    static func prompts() throws -> [String] {
        try strings(json("prompts.json"))
    }

    static func strings(_ value: JSONValue?) throws -> [String] {
        try required(value?.array).map { String(decoding: try required($0.bytes), as: UTF8.self) }
    }

    static func ids(_ value: JSONValue?) throws -> [Int32] {
        try required(value?.array).map { Int32(try required($0.integer)) }
    }

    static func required<T>(_ value: T?) throws -> T {
        guard let value else {
            throw InputError(
                .badValue, file: "golden", item: "", expected: "a value", found: "none")
        }
        return value
    }

    /// FNV-1a over ids, as the script computes it.
    static func digest(_ ids: [Int32]) -> String {
        var hash = StableHash()
        for id in ids { hash.add(UInt64(id)) }
        return hash.digits
    }
}

extension TemporaryFolder {
    /// A folder with copies of files and with JSON files.
    convenience init(copies: [String: String] = [:], json: [(key: String, value: JSONValue)]) throws
    {
        try self.init()
        for (name, source) in copies {
            try FileManager.default.copyItem(atPath: source, toPath: self(name))
        }
        for (name, value) in json { try write(name, text: value.encoded(.compact)) }
    }
}

/// How a tokenizer's results differ from a golden case; empty if they do not.
struct Comparison {
    let golden: JSONValue
    private(set) var differences: [String] = []

    init(_ golden: JSONValue) {
        self.golden = golden
    }

    private mutating func check<T: Equatable>(
        _ what: @autoclosure () -> String, _ got: T, _ want: T
    ) {
        if got != want { differences.append("\(what()): got \(got), expected \(want)") }
    }

    /// Compares text bit by bit: Swift's own equality would take `é` for `e` + U+0301.
    private mutating func checkText(
        _ what: @autoclosure () -> String, _ got: String, _ want: JSONValue
    ) {
        check(what(), Array(got.utf8), want.bytes ?? [])
    }

    mutating func encoding(_ tokenizer: some TextTokenizing, _ prompts: [String]) throws {
        let every = try Goldens.required(golden["every"]?.integer)
        for (n, expected) in try Goldens.required(golden["ids"]?.array).enumerated() {
            let text = prompts[n * every]
            check(
                "ids of \(text.debugDescription)", tokenizer.encode(text), try Goldens.ids(expected)
            )
        }
        for member in try Goldens.required(golden["plain"]?.members) {
            let text = prompts[
                try Goldens.required(Int(member.key))]
            check(
                "plain ids of \(text.debugDescription)",
                tokenizer.encode(text, addSpecialTokens: false), try Goldens.ids(member.value))
        }
        for value in try Goldens.required(golden["long"]?.array) {
            let parts = try Goldens.required(value.array)
            let unit = try Goldens.required(parts[0].text)
            let count = try Goldens.required(parts[1].integer)
            let ids = tokenizer.encode(String(repeating: unit, count: count))
            check("count of \(unit) × \(count)", ids.count, parts[2].integer ?? -1)
            check("ids of \(unit) × \(count)", Goldens.digest(ids), parts[3].text ?? "")
        }
    }

    mutating func decoding(_ tokenizer: some TextTokenizing, _ prompts: [String]) throws {
        for (ids, expected, skipped) in try decodings() {
            checkText("\(ids)", tokenizer.decode(ids, skipSpecialTokens: false), expected)
            checkText("skipping \(ids)", tokenizer.decode(ids, skipSpecialTokens: true), skipped)
        }
    }

    mutating func streaming(_ tokenizer: SentencePieceTokenizer) throws {
        for (ids, expected, skipped) in try decodings() {
            for (skip, want) in [(false, expected), (true, skipped)] {
                var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: skip)
                let parts = ids.map { decoder.push($0) } + [decoder.finish()]
                checkText("streaming \(ids)", parts.joined(), want)
            }
        }
    }

    private func decodings() throws -> [([Int32], JSONValue, JSONValue)] {
        let every = try Goldens.required(golden["every"]?.integer)
        let encoded = try Goldens.required(golden["ids"]?.array)
        var result: [([Int32], JSONValue, JSONValue)] = []
        for member in try Goldens.required(golden["decoded"]?.members) {
            let index = try Goldens.required(Int(member.key))
            let texts = try Goldens.required(member.value.array)
            result.append((try Goldens.ids(encoded[index / every]), texts[0], texts[1]))
        }
        for value in try Goldens.required(golden["streams"]?.array) {
            let parts = try Goldens.required(value.array)
            result.append((try Goldens.ids(parts[0]), parts[1], parts[2]))
        }
        return result
    }
}
