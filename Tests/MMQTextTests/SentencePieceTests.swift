import Foundation
import MMQBase
import Testing

@testable import MMQText

/// One small tokenizer of Tests/Golden/text/folders.
struct FolderCase: CustomTestStringConvertible, Sendable {
    let name: String
    let golden: JSONValue
    var testDescription: String { name }
    var folder: String { Goldens.folder + "/folders/" + name }
    var reading: TokenizerReading {
        golden["model"]?.text == "instructblip" ? .byClass : .asStored
    }

    static let all: [FolderCase] = {
        guard let members = (try? Goldens.json("llama.json"))?.members else { return [] }
        return members.map {
            FolderCase(name: $0.key, golden: $0.value)
        }
    }()
}

@Suite struct SentencePieceTests {
    @Test func thereAreGoldens() {
        #expect(FolderCase.all.count == 12)
    }

    @Test(arguments: FolderCase.all)
    func encodesAsTheReference(_ test: FolderCase) throws {
        let tokenizer = try SentencePieceTokenizer.load(folder: test.folder, reading: test.reading)
        var comparison = Comparison(test.golden)
        try comparison.encoding(tokenizer, try Goldens.prompts())
        #expect(comparison.differences == [])
        #expect(tokenizer.bosID.map(Int.init) == test.golden["bos"]?.integer)
        #expect(tokenizer.eosID.map(Int.init) == test.golden["eos"]?.integer)
        #expect(tokenizer.tables.unkID.map(Int.init) == test.golden["unk"]?.integer)
        #expect(tokenizer.tables.padID.map(Int.init) == test.golden["pad"]?.integer)
    }

    @Test(arguments: FolderCase.all)
    func decodesAsTheReference(_ test: FolderCase) throws {
        let tokenizer = try SentencePieceTokenizer.load(folder: test.folder, reading: test.reading)
        var comparison = Comparison(test.golden)
        try comparison.decoding(tokenizer, try Goldens.prompts())
        try comparison.streaming(tokenizer)
        #expect(comparison.differences == [])
    }

    /// What a GGUF file holds, plain keys and extras, gives the same tokenizer.
    @Test(arguments: FolderCase.all)
    func survivesGGUF(_ test: FolderCase) throws {
        let tables = try TokenizerTables.load(folder: test.folder, reading: test.reading).padded(
            to: 704)
        var read = TokenizerTables(
            pieces: tables.pieces, scores: tables.scores, types: tables.types)
        try read.apply(extrasJSON: tables.extrasJSON)
        #expect(read == tables)
        var comparison = Comparison(test.golden)
        try comparison.encoding(try SentencePieceTokenizer(tables: read), try Goldens.prompts())
        #expect(comparison.differences == [])
    }

    /// Plain keys alone, as community files have them, mean the legacy layout.
    @Test func plainTablesAreLegacy() throws {
        let test = try Goldens.required(FolderCase.all.first { $0.name == "llava-legacy" })
        let full = try TokenizerTables.load(folder: test.folder, reading: test.reading)
        let plain = TokenizerTables(pieces: full.pieces, scores: full.scores, types: full.types)
        var comparison = Comparison(test.golden)
        try comparison.encoding(try SentencePieceTokenizer(tables: plain), try Goldens.prompts())
        #expect(comparison.differences == [])
    }

    @Test func mergesBecomeScoresWherePossible() throws {
        func order(_ name: String) throws -> MergeOrder {
            let test = try Goldens.required(FolderCase.all.first { $0.name == name })
            return try TokenizerTables.load(folder: test.folder, reading: test.reading).mergeOrder
        }
        #expect(try order("llava-model") == .byScore(.shorterLeft))
        #expect(try order("llava-legacy") == .byScore(.leftID))
        #expect(try order("llava-first") == .byScore(.longerLeft))
        #expect(try order("llava-saved") == .byScore(.shorterLeft))
        guard case .explicit = try order("llava-flags") else {
            Issue.record("shuffled merges came out as scores")
            return
        }
    }

    @Test func instructBLIPBeginsWithItsEnd() throws {
        let test = try Goldens.required(FolderCase.all.first { $0.name == "blip-hub" })
        let tokenizer = try SentencePieceTokenizer.load(folder: test.folder, reading: test.reading)
        #expect(tokenizer.bosID == 2)
        #expect(tokenizer.eosID == 2)
        #expect(tokenizer.encode("") == [2])
        #expect(tokenizer.piece(641) == Array("<image>".utf8))
        #expect(tokenizer.id(of: "<image>") == 641)
        #expect(tokenizer.isSpecial(641))
        #expect(tokenizer.vocabularySize == 642)
    }

    @Test func truncates() throws {
        let test = try Goldens.required(FolderCase.all.first { $0.name == "llava-legacy" })
        let tokenizer = try SentencePieceTokenizer.load(folder: test.folder, reading: test.reading)
        let ids = tokenizer.encode("the picture of a dog")
        #expect(tokenizer.tables.truncationSide == .left)
        let cut = tokenizer.encode(
            "the picture of a dog", addSpecialTokens: true, maximumLength: 4)
        #expect(cut == [ids[0]] + ids.suffix(3))
    }

    @Test func truncationLeftInTheFileIsReported() throws {
        let test = try Goldens.required(FolderCase.all.first { $0.name == "llava-flags" })
        let tables = try TokenizerTables.load(folder: test.folder, reading: test.reading)
        #expect(tables.processorMaximumLength == 77)
        #expect(tables.truncationSide == .left)
    }

    /// Pieces that Swift's strings take for equal stay apart.
    @Test func canonicallyEquivalentPiecesStayApart() throws {
        let composed = Array("\u{E9}".utf8)
        let decomposed = Array("e\u{301}".utf8)
        var tables = TokenizerTables(
            pieces: [Array("<unk>".utf8), composed, decomposed, Array("e".utf8), [0xCC, 0x81]],
            scores: [0, -1, -2, -3, -4], types: [.unknown, .normal, .normal, .normal, .normal],
            bosID: nil, eosID: nil, addBOS: false, addSpacePrefix: false)
        tables.byteFallback = false
        let tokenizer = try SentencePieceTokenizer(tables: tables)
        #expect(tokenizer.encode("\u{E9}e\u{301}") == [1, 2])
        #expect(
            Array(tokenizer.decode([1, 2], skipSpecialTokens: false).utf8) == composed + decomposed)
    }
}

@Suite struct StreamingDecoderTests {
    /// Every part that comes out is whole characters, and comes as early as it is certain.
    @Test func holdsBackHalfCharacters() throws {
        let test = try Goldens.required(FolderCase.all.first { $0.name == "blip-hub" })
        let tokenizer = try SentencePieceTokenizer.load(folder: test.folder, reading: test.reading)
        let text = "the 😀 dog"
        var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        var parts: [String] = []
        for id in tokenizer.encode(text) { parts.append(decoder.push(id)) }
        parts.append(decoder.finish())
        #expect(parts.joined() == text)
        #expect(!parts.contains { $0.contains("\u{FFFD}") })
        // The run of four bytes is one part, set free by the piece after it.
        #expect(parts.filter { $0.contains("😀") }.count == 1)
        #expect(parts.count { $0.isEmpty } >= 4)
        #expect(decoder.push(tokenizer.encode("the", addSpecialTokens: false)) == "the")
    }
}
