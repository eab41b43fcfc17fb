import Foundation
import MMQBase

/// How transformers reads the language model's tokenizer: the processors of its models differ.
public enum TokenizerReading: Sendable, CaseIterable {
    /// As the files have it: `LlavaNextProcessor`.
    case asStored
    /// Built anew as `tokenizer_class` says, with `<image>` added: `InstructBlipProcessor`.
    case byClass
}

extension TokenizerTables {
    /// Reads the language model's tokenizer of a Hugging Face folder, as `from_pretrained` of
    /// processors in transformers 5.23 does:
    ///
    /// - **`asStored`**: a `tokenizer.json` is used as it is, whatever `tokenizer_class` says:
    ///   normalizer, pre-tokenizer, decoder and post-processor are those of the file, `legacy` and
    ///   `add_bos_token` of the configuration mean nothing. With `tokenizer.model` alone
    ///   `LlamaTokenizer` reads it (as `byClass` below). There we leave the processor:
    ///   `LlavaNextProcessor` takes a generic class for such a folder, which puts no space in front
    ///   of a text, so that the model would see prompts it was never trained on. Only where the
    ///   configuration names no class do we follow it.
    /// - **`byClass`** gets what `tokenizer_class` says. For `LlamaTokenizer` (or ...`Fast`) the
    ///   vocabulary and the post-processor come from `tokenizer.json`, but normalizer,
    ///   pre-tokenizer and decoder are built anew: Metaspace without cutting, with prefix `always`
    ///   if `legacy` is true, `first` if it is false or missing, `never` if `add_prefix_space` is
    ///   false; no unknown token in the model. Added tokens come from the configuration as soon as
    ///   that has `added_tokens_decoder`. For `TokenizersBackend` or `PreTrainedTokenizerFast` the
    ///   rules of `asStored` hold. The processor adds `<image>` unless the configuration names an
    ///   `image_token`.
    ///
    /// - Parameters:
    ///   - folder: path of the folder.
    ///   - reading: how the model's processor does it.
    /// - Throws: `InputError` naming file and key, also for parts of a `tokenizer.json` that are not
    ///   supported.
    public static func load(folder: String, reading: TokenizerReading) throws -> TokenizerTables {
        var files = try HubTokenizerFiles(folder: folder)
        let configurationFile = files.path("tokenizer_config.json")
        let className = files.configuration.present("tokenizer_class")?.text
        let rebuilt: Bool
        switch (reading, className) {
        case (.asStored, "LlamaTokenizer"), (.asStored, "LlamaTokenizerFast"):
            rebuilt = files.tokenizerJSON == nil
        case (.asStored, _), (_, "TokenizersBackend"), (_, "PreTrainedTokenizerFast"):
            rebuilt = false
        case (.byClass, "LlamaTokenizer"), (.byClass, "LlamaTokenizerFast"):
            rebuilt = true
        case (.byClass, let other):
            throw InputError(
                .badValue,
                file: configurationFile, item: "tokenizer_class",
                expected: "LlamaTokenizer or TokenizersBackend", found: other ?? "nothing")
        }
        var parts = try LlamaTokenizerParts(files: files, rebuilt: rebuilt)
        let defaults: [(String, String)] =
            rebuilt
            ? [("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")]
            : parts.defaults
        files.add(
            to: &parts.added, defaults: defaults, extraFromModel: parts.controlTokens)
        if reading == .byClass && files.content("image_token") == nil {
            parts.added.add([AddedTokenDefinition(Array("<image>".utf8), special: true)])
        }
        return try parts.tables(files: files)
    }
}

extension SentencePieceTokenizer {
    /// Reads the language model's tokenizer of a Hugging Face folder. See
    /// `TokenizerTables.load(folder:reading:)`.
    public static func load(
        folder: String, reading: TokenizerReading
    ) throws -> SentencePieceTokenizer {
        try SentencePieceTokenizer(
            tables: try TokenizerTables.load(folder: folder, reading: reading))
    }
}

/// What goes into the tables, while it is put together.
private struct LlamaTokenizerParts {
    /// The model's own pieces by id, nil for ids without one.
    var pieces: [[UInt8]?] = []
    var scores: [Float]?
    var merges: [MergePair]?
    var unknownPiece: [UInt8]?
    var byteFallback = true
    var fuseUnknown = true
    var ignoreMerges = false
    var normalizer: [NormalizerStep] = []
    var metaspace: Metaspace?
    var decoder: [DecoderStep]?
    /// Ids before and after a text; nil where the configuration decides.
    var template: (prefix: [Int32], suffix: [Int32])?
    var added: AddedVocabulary
    /// Control and user-defined pieces of a `tokenizer.model`.
    var controlTokens: [AddedTokenDefinition]?
    var defaults: [(String, String)] = []

    private let index: PieceIndex

    init(files: HubTokenizerFiles, rebuilt: Bool) throws {
        if let json = files.tokenizerJSON {
            let file = files.path("tokenizer.json")
            let reader = TokenizerJSON(json: json, file: file)
            let model = try reader.bytePairModel()
            pieces = model.pieces
            index = model.index
            merges = model.merges
            added = AddedVocabulary(model: index, count: model.count)
            template = try reader.template()
            if !rebuilt {
                unknownPiece = model.unknownPiece
                byteFallback = model.byteFallback
                fuseUnknown = model.fuseUnknown
                ignoreMerges = model.ignoreMerges
                normalizer = try reader.normalizer()
                metaspace = try reader.metaspace()
                decoder = try reader.decoder()
                added.add(try reader.addedTokens())
            }
        } else {
            let file = files.path("tokenizer.model")
            guard let bytes = try HubTokenizerFiles.bytes(file) else {
                throw InputError(
                    .badValue,
                    file: files.folder, item: "tokenizer",
                    expected: "tokenizer.json or tokenizer.model", found: "neither")
            }
            let model = try SentencePieceModel(bytes, file: file)
            guard model.modelType == 2 || rebuilt else {
                throw InputError(
                    .badValue,
                    file: file, item: "trainer_spec.model_type", expected: "2 (BPE)",
                    found: "\(model.modelType)")
            }
            guard !model.hasCharacterMap || rebuilt else {
                throw InputError(
                    .badValue,
                    file: file, item: "normalizer_spec.precompiled_charsmap",
                    expected: "none (identity normalization)", found: "a map")
            }
            pieces = model.pieces
            scores = model.scores
            var last: [[UInt8]: Int] = [:]
            for (i, piece) in model.pieces.enumerated() {
                if let earlier = last.updateValue(i, forKey: piece) { pieces[earlier] = nil }
            }
            if !rebuilt {
                try Self.rename(&pieces, files: files, file: file)
                unknownPiece = model.unknownPiece
                byteFallback = model.byteFallback
                normalizer = [.replace([0x20], with: spaceMarker)]
                decoder = [.replace(spaceMarker, with: [0x20])]
                if byteFallback { decoder?.append(contentsOf: [.byteFallback, .fuse]) }
                let named = [
                    ("bos_token", model.bosID, model.bosPiece),
                    ("eos_token", model.eosID, model.eosPiece),
                    ("unk_token", model.unknownID, model.unknownPiece),
                ]
                defaults = named.filter { $0.1 >= 0 }
                    .map { ($0.0, String(decoding: $0.2, as: UTF8.self)) }
            }
            var index = PieceIndex(count: pieces.count)
            for case (let i, let piece?) in pieces.enumerated() {
                index.insert(piece, id: Int32(clamping: i))
            }
            self.index = index
            added = AddedVocabulary(model: index, count: pieces.count { $0 != nil })
            controlTokens = model.pieces.indices.filter { [3, 4].contains(model.types[$0]) }.map {
                var token = AddedTokenDefinition(model.pieces[$0], special: model.types[$0] == 3)
                token.normalized = false
                return token
            }
        }
        if rebuilt {
            let prefix = try files.flag("add_prefix_space") ?? true
            let legacy = try files.flag("legacy") ?? false
            let scheme: PrependScheme = prefix ? (legacy ? .always : .first) : .never
            metaspace = Metaspace(scheme: scheme, split: false)
            decoder = [.replace(spaceMarker, with: [0x20]), .byteFallback, .fuse]
            if prefix { decoder?.append(.strip(0x20, left: 1, right: 0)) }
        }
    }

    /// Placeholder pieces take the names that the configuration has for their ids.
    private static func rename(
        _ pieces: inout [[UInt8]?], files: HubTokenizerFiles, file: String
    ) throws {
        var known = Set(pieces.compactMap { $0 })
        for (id, token) in files.addedTokens where pieces.indices.contains(id) {
            guard let current = pieces[id], current != token.content,
                !known.contains(token.content)
            else { continue }
            known.insert(token.content)
            pieces[id] = token.content
        }
    }

    /// The finished tables.
    func tables(files: HubTokenizerFiles) throws -> TokenizerTables {
        let highest = max(pieces.count - 1, Int(added.tokens.keys.max() ?? 0))
        guard highest < 1 << 26 else {
            throw InputError(
                .badValue,
                file: files.folder, item: "vocabulary", expected: "ids below \(1 << 26)",
                found: "\(highest)")
        }
        func id(_ name: String) -> Int32? { files.content(name).flatMap { added.id($0) } }
        var all: [[UInt8]] = []
        var types: [PieceType] = []
        let unknown = unknownPiece ?? Array("<unk>".utf8)
        for i in 0...highest {
            let piece = i < pieces.count ? pieces[i] : nil
            if let token = added.tokens[Int32(i)] {
                all.append(token.content)
                let isUnknown = token.content == unknown && piece != nil
                types.append(isUnknown ? .unknown : token.special ? .control : .userDefined)
            } else if let piece {
                all.append(piece)
                let isByte = byteFallback && DecoderStage.byte(piece) != nil
                types.append(isByte ? .byte : piece == unknown ? .unknown : .normal)
            } else {
                all.append(Array("[PAD\(i)]".utf8))
                types.append(.unused)
            }
        }
        var tables = TokenizerTables(
            pieces: all, scores: Array(repeating: 0, count: all.count), types: types,
            bosID: id("bos_token"), eosID: id("eos_token"), unkID: id("unk_token"),
            padID: id("pad_token"))
        tables.addedTokens = added.tableEntries { $0 < pieces.count && pieces[$0] != nil }
        tables.normalizer = normalizer
        tables.metaspace = metaspace
        tables.decoder = decoder
        tables.byteFallback = byteFallback
        tables.fuseUnknown = fuseUnknown
        tables.ignoreMerges = ignoreMerges
        tables.modelUnknownID = try unknownPiece.map { piece in
            guard let id = index.id(piece) else {
                throw InputError(
                    .badValue,
                    file: files.folder, item: "unk_token", expected: "a piece of the vocabulary",
                    found: String(decoding: piece, as: UTF8.self))
            }
            return id
        }
        try setTemplate(&tables, files: files)
        // Finding the order of merges cuts every piece in all ways.
        try TokenizerLimits.check(pieces: tables.pieces, file: files.vocabularyFile)
        tables.setMergeOrder(merges: merges, scores: scores, model: index)
        tables.cleanUpSpaces =
            try files.flag("clean_up_tokenization_spaces") == true
            && files.flag("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")
                == true
        tables.splitSpecialTokens = try files.flag("split_special_tokens") ?? false
        (tables.processorMaximumLength, tables.truncationSide) = files.truncation()
        return tables
    }

    private func setTemplate(_ tables: inout TokenizerTables, files: HubTokenizerFiles) throws {
        if let template {
            (tables.prefixIDs, tables.suffixIDs) = template
            return
        }
        // A tokenizer.json without a post-processor leaves nothing in front: the flags are not read
        // beside it.
        let hasJSON = files.tokenizerJSON != nil
        let addBOS = try !hasJSON && files.flag("add_bos_token") == true
        let addEOS = try !hasJSON && files.flag("add_eos_token") == true
        tables.prefixIDs = addBOS ? [tables.bosID].compactMap { $0 } : []
        tables.suffixIDs = addEOS ? [tables.eosID].compactMap { $0 } : []
    }
}

extension HubTokenizerFiles {
    /// The length to which the reference's processors cut without being asked, and the side:
    /// `truncation` (or a fixed `padding`) left in `tokenizer.json`, and `max_length` and
    /// `truncation_side` of the configuration, which come first.
    func truncation() -> (limit: Int?, side: TruncationSide) {
        let truncation = tokenizerJSON?.present("truncation")
        let padding = tokenizerJSON?.present("padding")
        let left =
            configuration.present("truncation_side")?.text
            ?? truncation?["direction"]?.text?.lowercased() ?? "right"
        let side: TruncationSide = left == "left" ? .left : .right
        if let limit = configuration["max_length"] { return (limit.integer, side) }
        let limit = truncation?["max_length"] ?? padding?["strategy"]?["Fixed"]
        return (limit?.integer, side)
    }
}
