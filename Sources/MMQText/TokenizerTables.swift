import Foundation

/// What a piece is, with the numbers of `tokenizer.ggml.token_type`.
public enum PieceType: Int32, Sendable, Codable {
    /// Ordinary text.
    case normal = 1
    /// Stands for what the vocabulary cannot spell.
    case unknown = 2
    /// A special token: bos, eos, `<image>`.
    case control = 3
    /// An added token that is text (decoding does not skip it).
    case userDefined = 4
    /// A row of the embedding table that no text leads to.
    case unused = 5
    /// One byte, spelled `<0x0A>`.
    case byte = 6
}

/// How an added token is matched in text, as the Hugging Face `AddedToken` flags say.
public struct AddedToken: Sendable, Equatable {
    /// Its id; its spelling is the piece of that id.
    public var id: Int32
    /// Was ever added as special: decoding may skip it (unless it is spelled otherwise there, see
    /// `spelledNormalized`).
    public var special: Bool
    /// Takes the whitespace before it along.
    public var leftStrip: Bool
    /// Takes the whitespace after it along.
    public var rightStrip: Bool
    /// Only counts where no word character touches it.
    public var singleWord: Bool
    /// Is looked for, normalized itself, in the normalized text instead of the raw one.
    public var normalized: Bool
    /// Decodes to its normalized spelling. The reference does so for every token that was
    /// `normalized` once, even if a later definition says otherwise.
    public var spelledNormalized: Bool
    /// The model's own vocabulary has it too (`<s>`), so that ordinary text could lead to it.
    public var inModel: Bool

    /// An added token with these flags.
    public init(
        id: Int32, special: Bool = true, leftStrip: Bool = false, rightStrip: Bool = false,
        singleWord: Bool = false, normalized: Bool = false, spelledNormalized: Bool = false,
        inModel: Bool = false
    ) {
        self.id = id
        self.special = special
        self.leftStrip = leftStrip
        self.rightStrip = rightStrip
        self.singleWord = singleWord
        self.normalized = normalized
        self.spelledNormalized = spelledNormalized
        self.inModel = inModel
    }
}

/// One step on the text between two added tokens, before it is cut into pieces.
public enum NormalizerStep: Sendable, Equatable {
    /// Puts bytes in front, unless the text is empty. `Prepend("▁")` is the legacy prefix space.
    case prepend([UInt8])
    /// Replaces every occurrence.
    case replace([UInt8], with: [UInt8])
}

/// When the space marker is put in front of a text that does not start with one.
public enum PrependScheme: String, Sendable, Equatable {
    /// At the start of the whole text only (LLaMA with `legacy: false`).
    case first
    /// At the start of every stretch between added tokens.
    case always
    /// Never.
    case never
}

/// The Metaspace pre-tokenizer: spaces become `replacement`, one is put in front as `scheme` says,
/// and with `split` the text is cut before each.
public struct Metaspace: Sendable, Equatable {
    /// The marker's UTF-8 bytes, those of `▁` (U+2581) in every known vocabulary.
    public var replacement: [UInt8]
    /// When one is put in front.
    public var scheme: PrependScheme
    /// Whether pieces may not reach across a marker.
    public var split: Bool

    /// The pre-tokenizer with these settings.
    public init(replacement: [UInt8] = spaceMarker, scheme: PrependScheme, split: Bool) {
        self.replacement = replacement
        self.scheme = scheme
        self.split = split
    }
}

/// UTF-8 of `▁` (U+2581), with which SentencePiece spells a space.
public let spaceMarker: [UInt8] = [0xE2, 0x96, 0x81]

/// One step from pieces back to text.
public enum DecoderStep: Sendable, Equatable {
    /// Replaces every occurrence in each piece.
    case replace([UInt8], with: [UInt8])
    /// Turns a run of `<0x..>` pieces into the text with these bytes, or into one U+FFFD per piece
    /// where the run as a whole is not valid UTF-8.
    case byteFallback
    /// Joins all pieces into one.
    case fuse
    /// Takes up to `left` (`right`) copies of one Unicode scalar off each piece.
    case strip(UInt32, left: Int, right: Int)
    /// Markers become spaces; with `dropFirst` those of the first piece vanish.
    case metaspace([UInt8], dropFirst: Bool)
}

/// In which order pairs are merged.
public enum MergeOrder: Sendable, Equatable {
    /// By falling score of the merged piece, then by rising id; all splits of a piece into two
    /// others count. The rule orders the splits of one piece.
    case byScore(SplitOrder)
    /// Exactly these pairs of ids, best first.
    case explicit([MergePair])
}

/// The order of a piece's splits, for each way in which `tokenizer.json` files were made.
public enum SplitOrder: String, Sendable, CaseIterable {
    /// Shorter left part first (transformers 5, from `tokenizer.model`).
    case shorterLeft
    /// Longer left part first (late transformers 4 converters).
    case longerLeft
    /// Smaller id of the left part first (transformers 4 around 4.35).
    case leftID
    /// As `leftID`, but of pieces with equal scores all splits together (early transformers 4).
    case pairIDs
}

/// Two pieces that merge.
public struct MergePair: Sendable, Equatable, Hashable {
    /// Id of the left piece.
    public var left: Int32
    /// Id of the right piece.
    public var right: Int32

    /// The pair `left`, `right`.
    public init(_ left: Int32, _ right: Int32) {
        self.left = left
        self.right = right
    }
}

/// Everything that is needed to rebuild a SentencePiece-BPE tokenizer.
///
/// The plain fields are those that GGUF has keys for (`tokenizer.ggml.*`, model `llama`). What they
/// cannot say goes through `extrasJSON` and comes back with `apply(extrasJSON:)`.
public struct TokenizerTables: Sendable, Equatable {
    // MARK: What plain GGUF keys hold

    /// UTF-8 bytes of each piece; the index is the id.
    public var pieces: [[UInt8]]
    /// Score of each piece: the higher merges first.
    public var scores: [Float]
    /// What each piece is.
    public var types: [PieceType]
    /// Begin of sequence; `</s>` (2) in InstructBLIP, whose tokenizer was trained so.
    public var bosID: Int32?
    /// End of sequence.
    public var eosID: Int32?
    /// The tokenizer's `unk_token`.
    public var unkID: Int32?
    /// Padding.
    public var padID: Int32?

    // MARK: What they do not

    /// Added tokens, in ascending order of ids.
    public var addedTokens: [AddedToken]
    /// Steps on the text between added tokens.
    public var normalizer: [NormalizerStep]
    /// The pre-tokenizer, nil for none.
    public var metaspace: Metaspace?
    /// Steps from pieces to text; nil joins them with spaces, as the reference does.
    public var decoder: [DecoderStep]?
    /// Ids before the text, from the post-processor.
    public var prefixIDs: [Int32]
    /// Ids after the text, from the post-processor.
    public var suffixIDs: [Int32]
    /// In which order pairs merge.
    public var mergeOrder: MergeOrder
    /// Characters without a piece become bytes, if all their bytes have pieces.
    public var byteFallback: Bool
    /// Neighbouring unknown characters become one unknown token.
    public var fuseUnknown: Bool
    /// What a character becomes that has neither piece nor bytes; nil drops it.
    public var modelUnknownID: Int32?
    /// A text that is itself a piece is not cut.
    public var ignoreMerges: Bool
    /// Special tokens written out in a text are ordinary text.
    public var splitSpecialTokens: Bool
    /// Decoding removes the spaces before punctuation, as `clean_up_tokenization` does.
    public var cleanUpSpaces: Bool
    /// Side on which a text that is too long is cut.
    public var truncationSide: TruncationSide
    /// The length to which the reference's processor cuts a text without being asked, nil for none:
    /// a `truncation` left in `tokenizer.json`, or a `max_length` in `tokenizer_config.json`.
    public var processorMaximumLength: Int?

    /// Tables as plain GGUF keys give them, with what llama.cpp takes for granted where a key is
    /// missing: bos in front, a space marker in front of every stretch between special tokens.
    ///
    /// - Parameters:
    ///   - pieces: `tokenizer.ggml.tokens` as bytes; the index is the id.
    ///   - scores: `tokenizer.ggml.scores`, as many.
    ///   - types: `tokenizer.ggml.token_type`, as many.
    ///   - addBOS: `tokenizer.ggml.add_bos_token`.
    ///   - addEOS: `tokenizer.ggml.add_eos_token`.
    ///   - addSpacePrefix: `tokenizer.ggml.add_space_prefix`.
    public init(
        pieces: [[UInt8]], scores: [Float], types: [PieceType], bosID: Int32? = 1,
        eosID: Int32? = 2, unkID: Int32? = 0, padID: Int32? = nil, addBOS: Bool = true,
        addEOS: Bool = false, addSpacePrefix: Bool = true
    ) {
        self.pieces = pieces
        self.scores = scores
        self.types = types
        self.bosID = bosID
        self.eosID = eosID
        self.unkID = unkID
        self.padID = padID
        addedTokens = types.enumerated().compactMap { index, type in
            switch type {
            case .control, .unknown: AddedToken(id: Int32(clamping: index), inModel: true)
            case .userDefined:
                AddedToken(id: Int32(clamping: index), special: false, inModel: true)
            case .normal, .unused, .byte: nil
            }
        }
        let space: [UInt8] = [0x20]
        normalizer =
            (addSpacePrefix ? [.prepend(spaceMarker)] : []) + [.replace(space, with: spaceMarker)]
        metaspace = nil
        decoder =
            [.replace(spaceMarker, with: space), .byteFallback, .fuse]
            + (addSpacePrefix ? [.strip(0x20, left: 1, right: 0)] : [])
        prefixIDs = addBOS ? [bosID].compactMap { $0 } : []
        suffixIDs = addEOS ? [eosID].compactMap { $0 } : []
        mergeOrder = .byScore(.leftID)
        byteFallback = true
        fuseUnknown = true
        modelUnknownID = unkID
        ignoreMerges = false
        splitSpecialTokens = false
        cleanUpSpaces = false
        truncationSide = .right
        processorMaximumLength = nil
    }

    /// Whether bos comes before a text (`tokenizer.ggml.add_bos_token`).
    public var addsBOS: Bool { bosID.map { prefixIDs.contains($0) } ?? false }

    /// Whether eos comes after a text (`tokenizer.ggml.add_eos_token`).
    public var addsEOS: Bool { eosID.map { suffixIDs.contains($0) } ?? false }

    /// Whether a text gets a space in front (`tokenizer.ggml.add_space_prefix`).
    public var addsSpacePrefix: Bool {
        if let metaspace { return metaspace.scheme != .never }
        return normalizer.contains {
            if case .prepend = $0 { true } else { false }
        }
    }

    /// The tables with pieces of type `unused` added, so that there are `count` of them: embedding
    /// tables often have more rows than the tokenizer has tokens. Never fewer than there were.
    public func padded(to count: Int) -> TokenizerTables {
        var result = self
        for id in pieces.count..<max(count, pieces.count) {
            result.pieces.append(Array("[PAD\(id)]".utf8))
            result.scores.append(-1000)
            result.types.append(.unused)
        }
        return result
    }
}
