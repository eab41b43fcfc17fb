import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

/// DeBERTa-v3's tokenizer against Hugging Face tokenizers, and what it refuses.
@Suite struct UnigramTests {
    private static let golden = Golden.folder + "/lingo-judge"

    private static func json(_ name: String) throws -> JSONValue {
        try Goldens.json(name, of: "lingo-judge")
    }

    private static func texts() throws -> [String] { try Goldens.strings(json("texts.json")) }

    private static func tokenizer(_ variant: String) throws -> UnigramTokenizer {
        try UnigramTokenizer.load(folder: golden + "/\(variant)/checkpoint")
    }

    /// spm.model alone, tokenizer.json of transformers 4, tokenizer.json of transformers 5.
    @Test(arguments: ["buckets", "v3", "plain"])
    func agreesWithTheReference(_ variant: String) throws {
        let tokenizer = try Self.tokenizer(variant)
        let expected = try Goldens.required(Self.json("\(variant)/cases.json")["texts"]?.array)
        let texts = try Self.texts()
        try #require(texts.count == expected.count && texts.count > 300)
        for (text, ids) in zip(texts, expected) {
            let got = tokenizer.encode(text)
            #expect(got == (try Goldens.ids(ids)), "\(text.debugDescription)")
        }
    }

    /// Ids do not show what an unknown character was before; this does.
    @Test(arguments: ["v3", "plain"])
    func normalizesAsTheReference(_ variant: String) throws {
        let tokenizer = try Self.tokenizer(variant)
        let expected = try Goldens.required(Self.json("\(variant)/cases.json")["normalized"]?.array)
        let texts = try Self.texts()
        try #require(texts.count == expected.count)
        for (text, normalized) in zip(texts, expected) {
            #expect(
                tokenizer.normalize(Array(text.utf8)) == normalized.bytes,
                "\(text.debugDescription)")
        }
    }

    /// What is read from spm.model is what transformers 4 writes into tokenizer.json.
    @Test func readsBothFormsAlike() throws {
        let pieces = try UnigramTables.load(folder: Self.golden + "/buckets/checkpoint")
        let json = try UnigramTables.load(folder: Self.golden + "/v3/checkpoint")
        #expect(pieces.pieces == json.pieces)
        // tokenizers writes some scores one unit in the last place off.
        #expect(pieces.scores.count == json.scores.count)
        #expect(zip(pieces.scores, json.scores).allSatisfy { abs($0 - $1) < 1e-13 })
        #expect(pieces.steps == json.steps)
        #expect(pieces.characterMap == json.characterMap && pieces.characterMap.count > 200_000)
        #expect(pieces.unkID == 3 && pieces.prefixIDs == [1] && pieces.suffixIDs == [2])
    }

    /// Truncation drops text, never the tokens around it.
    @Test func cutsLongTexts() throws {
        let tokenizer = try Self.tokenizer("v3")
        let text = String(repeating: "the ego vehicle ", count: 60)
        let whole = tokenizer.encode(text)
        let cut = tokenizer.encode(text, maximumLength: 16)
        #expect(cut.count == 16 && whole.count > 16)
        #expect(cut == Array(whole.prefix(15)) + [2])
        #expect(tokenizer.encode("a", maximumLength: 2) == [1, 2])
    }

    /// The cut with the greatest sum wins; unknown neighbours are one token.
    @Test func findsTheBestCut() throws {
        func tables(_ scores: [String: Double]) -> UnigramTables {
            let pieces = ["[UNK]", "▁"] + scores.keys.sorted()
            return UnigramTables(
                pieces: pieces.map { Array($0.utf8) },
                scores: pieces.map { $0 == "[UNK]" ? 0 : scores[$0] ?? -3 }, addedTokens: [],
                unkID: 0, prefixIDs: [], suffixIDs: [], steps: [], characterMap: [],
                prependsSpace: true, truncationSide: .right)
        }
        func cut(_ text: String, _ scores: [String: Double]) throws -> [String] {
            let tables = tables(scores)
            return try UnigramTokenizer(tables: tables).encode(text).map {
                String(decoding: tables.pieces[Int($0)], as: UTF8.self)
            }
        }
        // ▁ + ab + c = -3 - 4 - 2, against ▁a + bc = -5 - 3: the second, until bc costs more.
        let scores = ["ab": -4.0, "c": -2, "▁a": -5, "bc": -3, "a": -9, "b": -9]
        #expect(try cut("abc", scores) == ["▁a", "bc"])
        #expect(try cut("abc", scores.merging(["bc": -4.5]) { $1 }) == ["▁", "ab", "c"])
        // Of equals the one whose last piece starts first.
        #expect(try cut("abc", ["ab": -2, "c": -2, "a": -2, "bc": -2]) == ["▁", "a", "bc"])
        // An unknown character costs 10 more than the worst piece: 5 - 40 against -30.
        #expect(try cut("b?", ["b": 5, "b?": -30]) == ["▁", "b?"])
        #expect(try cut("c??cé", scores) == ["▁", "c", "[UNK]", "c", "[UNK]"])
    }

    @Test func normalizesByTheMapAsTheReferenceDoes() throws {
        let tables = try UnigramTables.load(folder: Self.golden + "/v3/checkpoint")
        let map = try #require(UnigramCharacterMap(tables.characterMap))
        func apply(_ text: String) -> String {
            String(decoding: map.apply(Array(text.utf8)), as: UTF8.self)
        }
        #expect(apply("½ ﬁ…Ａ\u{200B}\tx") == "1⁄2 fi...A  x")
        // The shortest prefix of a short grapheme stands for all of it: the accent is lost.
        #expect(Array(apply("ｅ\u{301}").unicodeScalars) == ["e"])
        #expect(apply("abc") == "abc")
    }

    /// Every break is an error that names the file, none a crash.
    @Test func refusesBrokenFiles() throws {
        let good = try Self.json("plain/checkpoint/tokenizer.json")
        func message(_ change: (inout [(key: String, value: JSONValue)]) -> Void) throws -> String {
            var members = try Goldens.required(good.members)
            change(&members)
            let folder = try TemporaryFolder(json: [
                ("tokenizer.json", .object(JSONObject(members.map { ($0.key, $0.value) })))
            ])
            do {
                _ = try UnigramTables.load(folder: folder.path)
                return "no error"
            } catch let error as InputError {
                #expect(error.file.hasSuffix("tokenizer.json"))
                return error.item ?? ""
            }
        }
        func set(_ key: String, _ json: String) throws -> String {
            let value = try JSONValue(parsing: Array(json.utf8), file: "test")
            return try message { members in
                members.removeAll { $0.key == key }
                members.append((key, value))
            }
        }
        #expect(try message { _ in } == "no error")
        #expect(try set("model", #"{"type":"BPE"}"#) == "model.type")
        #expect(try set("model", #"{"type":"Unigram","vocab":{}}"#) == "model.vocab")
        #expect(
            try set("model", #"{"type":"Unigram","unk_id":0,"vocab":[["a"]]}"#) == "model.vocab[0]")
        #expect(
            try set("model", #"{"type":"Unigram","unk_id":0,"vocab":[["a",0],["a",1]]}"#)
                == "pieces[1]")
        #expect(
            try set("model", #"{"type":"Unigram","unk_id":9,"vocab":[["a",0]]}"#) == "unknown id")
        #expect(try set("model", #"{"type":"Unigram","vocab":[["a",0]]}"#) == "model.unk_id")
        #expect(
            try set("normalizer", #"{"type":"Lowercase"}"#) == "normalizer.normalizers[0].type")
        #expect(
            try set("normalizer", #"{"type":"Precompiled","precompiled_charsmap":"AAA="}"#)
                == "normalizer.normalizers[0].precompiled_charsmap")
        #expect(try set("pre_tokenizer", "null") == "pre_tokenizer")
    }

    /// Maps whose trie points anywhere: no crash, and never anything but UTF-8.
    @Test func survivesHostileMaps() throws {
        var random = SystemRandomNumberGenerator()
        let texts = try Self.texts().map { Array($0.utf8) }
        for _ in 0..<200 {
            let units = Int.random(in: 1...64, using: &random)
            var bytes: [UInt8] = [UInt8(units * 4 % 256), UInt8(units * 4 / 256), 0, 0]
            bytes += (0..<units * 4).map { _ in UInt8.random(in: 0...255, using: &random) }
            bytes += Array("é\u{0}ab\u{0}…".utf8)
            let map = try #require(UnigramCharacterMap(bytes))
            for text in texts.prefix(100) {
                let valid = UTF8Scan.isValid(map.apply(text))
                #expect(valid)
            }
        }
        #expect(UnigramCharacterMap([]) == nil)
        #expect(UnigramCharacterMap([255, 255, 255, 255]) == nil)
        #expect(UnigramCharacterMap([8, 0, 0, 0, 1, 2, 3, 4]) == nil)
        #expect(UnigramCharacterMap([4, 0, 0, 0, 1, 2, 3, 4, 0xFF]) == nil)
    }
}
