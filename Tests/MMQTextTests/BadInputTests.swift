import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

/// Files are hostile: every broken one is an error that names the place.
@Suite struct BadInputTests {
    /// One broken `tokenizer.json`, made from a good one by a replacement of text.
    struct Broken: CustomTestStringConvertible, Sendable {
        let what: String
        let replace: String
        let with: String
        let key: String
        var testDescription: String { what }
    }

    static let broken = [
        Broken(
            what: "byte level pre-tokenizer", replace: #""pre_tokenizer":null"#,
            with: #""pre_tokenizer":{"type":"ByteLevel"}"#, key: "pre_tokenizer"),
        Broken(
            what: "unknown normalizer", replace: #""type":"Prepend""#,
            with: #""type":"Precompiled""#,
            key: "normalizer.normalizers[0].type"),
        Broken(
            what: "regular expression", replace: #""pattern":{"String":" "}"#,
            with: #""pattern":{"Regex":" "}"#, key: "normalizer.normalizers[1].pattern"),
        Broken(
            what: "dropout", replace: #""dropout":null"#, with: #""dropout":0.1"#,
            key: "model.dropout"),
        Broken(
            what: "word end", replace: #""end_of_word_suffix":null"#,
            with: #""end_of_word_suffix":"</w>""#, key: "model.end_of_word_suffix"),
        Broken(
            what: "other model", replace: #""type":"BPE""#, with: #""type":"Unigram""#,
            key: "model.type"),
        Broken(
            what: "no merges", replace: #""merges":["#, with: #""other":["#, key: "model.merges"),
        Broken(
            what: "merge of three", replace: #""merges":["#, with: #""merges":["a b c","#,
            key: "model.merges[0]"),
        Broken(
            what: "merge of strangers", replace: #""merges":["#, with: #""merges":["qqq zzz","#,
            key: "model.merges[0]"),
        Broken(
            what: "two pieces of one id", replace: #""vocab":{"#, with: #""vocab":{"qqq":1,"#,
            key: "model.vocab.<s>"),
        Broken(
            what: "id out of range", replace: #""vocab":{"#, with: #""vocab":{"qqq":4000000000,"#,
            key: "model.vocab.qqq"),
        Broken(
            what: "negative id", replace: #""vocab":{"#, with: #""vocab":{"qqq":-1,"#,
            key: "model.vocab.qqq"),
        Broken(
            what: "added token without content", replace: #""added_tokens":[{"id":0,"content""#,
            with: #""added_tokens":[{"id":0,"contents""#, key: "added_tokens[0].content"),
        Broken(
            what: "text twice in the template", replace: #""single":["#,
            with: #""single":[{"Sequence":{"id":"A","type_id":0}},"#, key: "post_processor.single"),
        Broken(
            what: "half a surrogate", replace: #""vocab":{"#, with: #""vocab":{"\ud800":7,"#,
            key: "JSON"),
        Broken(
            what: "comma at the end", replace: #""merges":["#, with: #""merges":[,"#, key: "JSON"),
    ]

    @Test(arguments: broken)
    func brokenTokenizerJSON(_ test: Broken) throws {
        let source = Goldens.folder + "/folders/llava-legacy/tokenizer.json"
        let good = String(
            decoding: try Data(contentsOf: URL(fileURLWithPath: source)), as: UTF8.self)
        let bad = good.replacingOccurrences(of: test.replace, with: test.with)
        #expect(bad != good)
        let folder = try TemporaryFolder()
        try folder.write("tokenizer.json", text: bad)
        let error = #expect(throws: InputError.self) {
            try TokenizerTables.load(folder: folder.path, reading: .asStored)
        }
        #expect(error?.item == test.key)
        #expect(error?.file == folder("tokenizer.json"))
    }

    /// A vocabulary cut anywhere is an error or, at the end of a piece, a shorter vocabulary.
    @Test func cutFiles() throws {
        let folders = Goldens.folder + "/folders/"
        let model = [UInt8](
            try Data(contentsOf: URL(fileURLWithPath: folders + "llava-model/tokenizer.model")))
        var errors = 0
        for length in stride(from: 0, to: model.count, by: 37) {
            do {
                let cut = try SentencePieceModel(Array(model[..<length]), file: "cut")
                #expect(cut.pieces.count <= 640)
            } catch let error as InputError {
                errors += 1
                #expect(error.file == "cut")
                #expect((error.offset ?? 0) <= length)
            }
        }
        #expect(errors > 100)
        let json = [UInt8](
            try Data(contentsOf: URL(fileURLWithPath: folders + "blip-hub/tokenizer.json")))
        for length in stride(from: 0, to: json.count - 1, by: 211) {
            #expect(throws: InputError.self) {
                try JSONValue(parsing: Array(json[..<length]), file: "cut")
            }
        }
    }

    @Test func randomBytesDoNotCrash() throws {
        let path = Goldens.folder + "/folders/llava-model/tokenizer.model"
        let model = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        var state: UInt64 = 9
        for _ in 0..<300 {
            var bytes = model
            for _ in 0..<20 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 20)
            }
            _ = try? SentencePieceModel(bytes, file: "random")
        }
        let deep = Array(repeating: UInt8(ascii: "["), count: 100_000)
        #expect(throws: InputError.self) { try JSONValue(parsing: deep, file: "deep") }
    }

    @Test func noTokenizer() throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: InputError.self) {
            try TokenizerTables.load(folder: folder.path, reading: .asStored)
        }
        #expect(error?.found == "neither")
        #expect(error?.file == folder.path)
    }

    @Test func unknownClass() throws {
        let folder = try TemporaryFolder(json: [
            ("tokenizer_config.json", .make(["tokenizer_class": .string("GPT2Tokenizer")]))
        ])
        let error = #expect(throws: InputError.self) {
            try TokenizerTables.load(folder: folder.path, reading: .byClass)
        }
        #expect(error?.item == "tokenizer_class")
    }

    @Test func tablesThatContradictThemselves() throws {
        let good = TokenizerTables(
            pieces: [Array("<unk>".utf8), Array("a".utf8)], scores: [0, -1],
            types: [.unknown, .normal], bosID: nil, eosID: nil)
        _ = try SentencePieceTokenizer(tables: good)
        func key(_ change: (inout TokenizerTables) -> Void) -> String? {
            var tables = good
            change(&tables)
            let error = #expect(throws: InputError.self) {
                try SentencePieceTokenizer(tables: tables)
            }
            return error?.item
        }
        #expect(key { $0.pieces = [] } == "pieces")
        #expect(key { $0.scores = [0] } == "scores")
        #expect(key { $0.scores[1] = .nan } == "scores[1]")
        #expect(key { $0.types = [] } == "types")
        #expect(key { $0.pieces[1] = [0xFF] } == "pieces[1]")
        #expect(key { $0.bosID = 2 } == "bosID")
        #expect(key { $0.prefixIDs = [-1] } == "prefixIDs")
        #expect(key { $0.addedTokens = [AddedToken(id: 9)] } == "addedTokens")
        #expect(key { $0.mergeOrder = .explicit([MergePair(1, 7)]) } == "merges[0]")
        var tables = good
        #expect(throws: InputError.self) { try tables.apply(extrasJSON: "{}") }
        #expect(throws: InputError.self) { try tables.apply(extrasJSON: #"{"format":2}"#) }
        let extras = good.extrasJSON.replacingOccurrences(of: "leftID", with: "leftid")
        #expect(throws: InputError.self) { try tables.apply(extrasJSON: extras) }
        #expect(tables == good)
    }
}
