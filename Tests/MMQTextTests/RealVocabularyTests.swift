import Foundation
import MMQBase
import Support
import Testing

@testable import MMQText

private let llama = Goldens.shared + "/llama-tokenizer.model"
private let bert = Goldens.shared + "/bert-vocab.txt"
private let haveLlama = FileManager.default.fileExists(atPath: llama)
private let haveBert = FileManager.default.fileExists(atPath: bert)

/// The vocabularies of LLaMA and BERT are not part of the repository; only what they lead to is.
@Suite struct RealVocabularyTests {
    @Test(
        .enabled(
            if: haveLlama,
            "NOT RUN: ../shared/data/llama-tokenizer.model (the real LLaMA vocabulary) is missing"),
        arguments: ["real-llava", "real-blip", "real-blip-first"])
    func llamaAgreesWithTheReference(_ name: String) throws {
        let golden = try Goldens.required(try Goldens.json("real-llama.json")[name])
        let folder = try TemporaryFolder(
            copies: ["tokenizer.model": llama],
            json: try Goldens.required(golden["files"]?.members))
        let tokenizer = try SentencePieceTokenizer.load(
            folder: folder.path,
            reading: golden["model"]?.text == "instructblip" ? .byClass : .asStored)
        try compare(tokenizer, golden)
    }

    /// Plain GGUF tables against the `tokenizer.json` layout of llava-hf.
    @Test(
        .enabled(
            if: haveLlama,
            "NOT RUN: ../shared/data/llama-tokenizer.model (the real LLaMA vocabulary) is missing"))
    func plainTablesOfLlamaAgreeWithTheReference() throws {
        let golden = try Goldens.required(try Goldens.json("real-llama.json")["real-legacy"])
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: llama)))
        let file = try SentencePieceModel(bytes, file: llama)
        let tables = TokenizerTables(
            pieces: file.pieces + [Array("<image>".utf8), Array("<pad>".utf8)],
            scores: file.scores + [0, 0],
            types: try file.types.map { try Goldens.required(PieceType(rawValue: Int32($0))) }
                + [.control, .control])
        try compare(try SentencePieceTokenizer(tables: tables), golden)
    }

    private func compare(_ tokenizer: SentencePieceTokenizer, _ golden: JSONValue) throws {
        let prompts = try Goldens.prompts()
        var comparison = Comparison(golden)
        try comparison.encoding(tokenizer, prompts)
        try comparison.decoding(tokenizer, prompts)
        try comparison.streaming(tokenizer)
        #expect(comparison.differences == [])
    }

    @Test(
        .enabled(
            if: haveBert,
            "NOT RUN: ../shared/data/bert-vocab.txt (the real BERT vocabulary) is missing"))
    func bertAgreesWithTheReference() throws {
        let golden = try Goldens.required(try Goldens.json("real-bert.json")["bert-vocab"])
        let source = Goldens.folder + "/folders/bert-vocab/qformer_tokenizer/tokenizer_config.json"
        let folder = try TemporaryFolder(
            copies: ["vocab.txt": bert, "tokenizer_config.json": source],
            json: [
                ("added_tokens.json", .make(["[DEC]": .integer(30522)]))
            ])
        let tables = try WordPieceTables.load(folder: folder.path)
        #expect(tables.pieces.count == 30523)
        #expect(try differences(tables, golden) == [])
    }
}
