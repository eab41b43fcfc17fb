import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

@Suite struct WordPieceTests {
    @Test(arguments: ["bert-vocab", "bert-json", "bert-backend"])
    func agreesWithTheReference(_ name: String) throws {
        let golden = try Goldens.required(try Goldens.json("bert.json")[name])
        let folder = Goldens.folder + "/folders/\(name)/qformer_tokenizer"
        let tables = try WordPieceTables.load(folder: folder)
        #expect(tables.maximumLength == 512)
        let differences = try differences(tables, golden)
        #expect(differences == [])
        let read = try WordPieceTables(pieces: tables.pieces, extrasJSON: tables.extrasJSON)
        #expect(read == tables)
    }

    /// Everything but the normalizer's tables is in small goldens; this is every scalar there is.
    @Test func normalizesEveryScalarAsTheReference() throws {
        let golden = try Goldens.json("scalars.json")
        func set(_ key: String) throws -> Set<UInt32> {
            var result: Set<UInt32> = []
            for range in try Goldens.required(golden[key]?.array) {
                let ends = try Goldens.ids(range)
                result.formUnion(UInt32(ends[0])...UInt32(ends[1]))
            }
            return result
        }
        let clean = BertNormalizer(spaceChinese: false, stripAccents: false, lowercase: false)
        let accents = BertNormalizer(cleanText: false, spaceChinese: false, lowercase: false)
        var dropped: Set<UInt32> = []
        var space: Set<UInt32> = []
        var mark: Set<UInt32> = []
        var chinese: Set<UInt32> = []
        var punctuation: Set<UInt32> = []
        var hash = StableHash()
        let scalars = (0..<UInt32(0x110000)).compactMap { Unicode.Scalar($0) }
        // Many at a time, each followed by a 7, which is no part of any other; the 7 itself is
        // left out and put in again.
        for start in stride(from: 0, to: scalars.count, by: 4096) {
            let batch = scalars[start..<min(start + 4096, scalars.count)]
            var text: [UInt8] = []
            for scalar in batch where scalar != "7" { text += Array(String(scalar).utf8) + [0x37] }
            func parts(_ normalizer: BertNormalizer) -> [[UInt8]] {
                normalizer.normalize(text[...])
                    .split(separator: 0x37, omittingEmptySubsequences: false).map(Array.init)
            }
            var cleaned = parts(clean)
            var stripped = parts(accents)
            if let seven = batch.firstIndex(of: "7") {
                cleaned.insert([0x37], at: seven - start)
                stripped.insert([0x37], at: seven - start)
            }
            for (i, scalar) in batch.enumerated() {
                if cleaned[i].isEmpty { dropped.insert(scalar.value) }
                if cleaned[i] == [0x20] { space.insert(scalar.value) }
                if BertNormalizer.isChinese(scalar) { chinese.insert(scalar.value) }
                if stripped[i].isEmpty { mark.insert(scalar.value) }
                if BertNormalizer.isPunctuation(scalar) { punctuation.insert(scalar.value) }
                hash.add(stripped[i] + [0x0A])
            }
        }
        #expect(dropped == (try set("dropped")))
        #expect(space == (try set("space")))
        #expect(chinese == (try set("chinese")))
        #expect(mark == (try set("mark")))
        #expect(punctuation == (try set("punctuation")))
        #expect(hash.digits == golden["stripped"]?.text)
    }

    @Test func refusesOtherClasses() throws {
        let folder = try TemporaryFolder(json: [
            ("tokenizer_config.json", .make(["tokenizer_class": .string("RobertaTokenizer")]))
        ])
        #expect {
            try WordPieceTables.load(folder: folder.path)
        } throws: { error in
            (error as? InputError)?.item == "tokenizer_class"
                && (error as? InputError)?.found == "RobertaTokenizer"
        }
    }
}

/// How a WordPiece tokenizer's results differ from a golden case.
func differences(_ tables: WordPieceTables, _ golden: JSONValue) throws -> [String] {
    let tokenizer = try WordPieceTokenizer(tables: tables)
    let prompts = try Goldens.prompts()
    var comparison = Comparison(golden)
    try comparison.encoding(tokenizer, prompts)
    try comparison.decoding(tokenizer, prompts)
    var differences = comparison.differences
    let texts = try Goldens.strings(golden["truncatedTexts"])
    for (text, expected) in zip(texts, try Goldens.required(golden["truncated"]?.array)) {
        let ids = tokenizer.encode(
            text, addSpecialTokens: true, maximumLength: tables.maximumLength)
        if ids != (try Goldens.ids(expected)) { differences.append("truncated \(text.prefix(40))") }
    }
    for cut in try Goldens.required(golden["cut"]?.array) {
        let parts = try Goldens.required(cut.array)
        let ids = tokenizer.encode(
            "one two three four five six", addSpecialTokens: true, maximumLength: parts[0].integer)
        if ids != (try Goldens.ids(parts[1])) { differences.append("cut to \(parts[0]): \(ids)") }
    }
    return differences
}
