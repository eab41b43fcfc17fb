import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

/// Files of a megabyte that would take minutes, or all memory: refused, or read at once.
@Suite(.timeLimit(.minutes(1))) struct TokenizerLimitsTests {
    /// A golden `tokenizer.json`, something in it replaced.
    private func folder(_ text: String, by replacement: String) throws -> TemporaryFolder {
        let source = Goldens.folder + "/folders/llava-legacy/tokenizer.json"
        let good = String(
            decoding: try Data(contentsOf: URL(fileURLWithPath: source)), as: UTF8.self)
        let bad = good.replacingOccurrences(of: text, with: replacement)
        #expect(bad != good)
        let folder = try TemporaryFolder()
        try folder.write("tokenizer.json", text: bad)
        return folder
    }

    private func expectTooLarge(_ item: String, _ work: () throws -> Void) {
        let error = #expect(throws: InputError.self) { try work() }
        #expect(error?.code == .tooLarge)
        #expect(error?.item == item)
    }

    /// Every way to cut a piece in two is looked up: half a megabyte would take a minute.
    @Test func longPieces() throws {
        for (length, fits) in [(512, true), (513, false), (500_000, false)] {
            let piece = String(repeating: "q", count: length)
            let folder = try folder(#""vocab":{"#, by: #""vocab":{"\#(piece)":640,"#)
            func load() throws {
                _ = try SentencePieceTokenizer.load(folder: folder.path, reading: .asStored)
            }
            if fits {
                try load()
            } else {
                expectTooLarge("pieces[640]", load)
            }
        }
        let tables = try WordPieceTables(
            pieces: ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"].map { Array($0.utf8) }
                + [Array(repeating: 0x61, count: 513)])
        expectTooLarge("pieces[5]") { _ = try WordPieceTokenizer(tables: tables) }
    }

    @Test func longPiecesOfASentencePieceModel() throws {
        let folder = try TemporaryFolder()
        let golden = Goldens.folder + "/folders/llava-model/"
        let config = try Data(contentsOf: URL(fileURLWithPath: golden + "tokenizer_config.json"))
        try folder.write("tokenizer_config.json", Array(config))
        // Field 1 of the model, a piece; in it field 1, its bytes.
        func field(_ bytes: [UInt8]) -> [UInt8] {
            [0x0A, UInt8(bytes.count & 0x7F | 0x80), UInt8(bytes.count >> 7)] + bytes
        }
        let model = try Data(contentsOf: URL(fileURLWithPath: golden + "tokenizer.model"))
        let piece = field(field(Array(repeating: 0x71, count: 600)))
        try folder.write("tokenizer.model", Array(model) + piece)
        let error = #expect(throws: InputError.self) {
            try TokenizerTables.load(folder: folder.path, reading: .asStored)
        }
        #expect(error?.code == .tooLarge)
        #expect(error?.file == folder("tokenizer.model"))
    }

    /// Thirty replacements of a letter by two of it make a gigabyte of one.
    @Test func replacementsThatDouble() throws {
        let step = #"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#
        for (count, fits) in [(4, true), (30, false)] {
            let steps = Array(repeating: step, count: count).joined(separator: ",")
            let folder = try folder(#""normalizers":["#, by: #""normalizers":[\#(steps),"#)
            func load() throws {
                let tokenizer = try SentencePieceTokenizer.load(
                    folder: folder.path, reading: .asStored)
                #expect(!tokenizer.encode("aaa", addSpecialTokens: false).isEmpty)
            }
            if fits {
                try load()
            } else {
                expectTooLarge("normalizer", load)
            }
        }
    }

    /// The next free id was looked for among all tokens before.
    @Test func manyAddedTokens() throws {
        let tokens = (0..<40_000).map { #"{"id":\#(1000 + $0),"content":"~\#($0)~"}"# }.joined(
            separator: ",")
        let folder = try folder(#""added_tokens":["#, by: #""added_tokens":[\#(tokens),"#)
        let clock = ContinuousClock()
        let start = clock.now
        let tables = try TokenizerTables.load(folder: folder.path, reading: .asStored)
        #expect(tables.addedTokens.count > 40_000)
        #expect(clock.now - start < .seconds(15), "a debug build takes two")
    }
}
