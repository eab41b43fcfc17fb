import MMQBase

extension TokenizerTables {
    private static let extrasFile = "tokenizer extras"
    private static let extrasFormat = 1

    /// What plain GGUF keys cannot hold, as JSON: added tokens and their flags, normalizer,
    /// pre-tokenizer, decoder, post-processor, merge order, and the merges themselves where no
    /// scores lead to them. Goes back with `apply(extrasJSON:)`.
    public var extrasJSON: String {
        let merges: JSONValue
        switch mergeOrder {
        case .byScore(let order): merges = .array([.string(order.rawValue)])
        case .explicit(let pairs): merges = .ids(pairs.flatMap { [$0.left, $0.right] })
        }
        let space: JSONValue =
            metaspace.map {
                .make([
                    "replacement": .string($0.replacement), "scheme": .string($0.scheme.rawValue),
                    "split": .bool($0.split),
                ])
            } ?? .null
        let json = JSONValue.make([
            "format": .integer(Self.extrasFormat),
            "added": .array(addedTokens.map(\.extra)),
            "normalizer": .array(normalizer.map(\.extra)),
            "metaspace": space,
            "decoder": decoder.map { .array($0.map(\.extra)) } ?? .null,
            "prefix": .ids(prefixIDs),
            "suffix": .ids(suffixIDs),
            "bos": .id(bosID), "eos": .id(eosID), "unk": .id(unkID), "pad": .id(padID),
            "byteFallback": .bool(byteFallback),
            "fuseUnknown": .bool(fuseUnknown),
            "modelUnknown": .id(modelUnknownID),
            "ignoreMerges": .bool(ignoreMerges),
            "splitSpecial": .bool(splitSpecialTokens),
            "cleanUp": .bool(cleanUpSpaces),
            "truncationSide": .string(truncationSide.rawValue),
            "processorLimit": processorMaximumLength.map { .integer($0) } ?? .null,
            "merges": merges,
        ])
        return json.encoded(.compact)
    }

    /// Sets what plain GGUF keys could not hold from what `extrasJSON` gave.
    ///
    /// - Throws: `InputError` naming the key, and nothing is changed.
    public mutating func apply(extrasJSON: String) throws {
        let reader = try ExtrasReader(
            extrasJSON, file: Self.extrasFile, format: Self.extrasFormat, pieces: pieces.count)
        var tables = self
        tables.addedTokens = try reader.addedTokens("added")
        tables.normalizer = try reader.array("normalizer").map {
            try NormalizerStep(extra: $0, reader)
        }
        tables.metaspace = try reader.json.present("metaspace").map { value in
            guard let replacement = value["replacement"]?.bytes,
                let scheme = value["scheme"]?.text.flatMap(PrependScheme.init(rawValue:)),
                let split = value["split"]?.bool
            else {
                throw reader.error("metaspace", "replacement, scheme and split", "others")
            }
            return Metaspace(replacement: replacement, scheme: scheme, split: split)
        }
        tables.decoder =
            reader.json.present("decoder") == nil
            ? nil : try reader.array("decoder").map { try DecoderStep(extra: $0, reader) }
        tables.prefixIDs = try reader.ids("prefix")
        tables.suffixIDs = try reader.ids("suffix")
        tables.bosID = try reader.optionalID("bos")
        tables.eosID = try reader.optionalID("eos")
        tables.unkID = try reader.optionalID("unk")
        tables.padID = try reader.optionalID("pad")
        tables.byteFallback = try reader.bool("byteFallback")
        tables.fuseUnknown = try reader.bool("fuseUnknown")
        tables.modelUnknownID = try reader.optionalID("modelUnknown")
        tables.ignoreMerges = try reader.bool("ignoreMerges")
        tables.splitSpecialTokens = try reader.bool("splitSpecial")
        tables.cleanUpSpaces = try reader.bool("cleanUp")
        tables.truncationSide = try reader.side("truncationSide")
        tables.processorMaximumLength = try reader.optionalInteger("processorLimit")
        let merges = try reader.array("merges")
        if merges.count == 1, let name = merges[0].text {
            guard let order = SplitOrder(rawValue: name) else {
                throw reader.error("merges", "a known order", name)
            }
            tables.mergeOrder = .byScore(order)
        } else {
            let ids = try reader.ids("merges")
            guard ids.count.isMultiple(of: 2) else {
                throw reader.error("merges", "pairs of ids", "\(ids.count) ids")
            }
            tables.mergeOrder = .explicit(
                stride(from: 0, to: ids.count, by: 2).map { MergePair(ids[$0], ids[$0 + 1]) })
        }
        self = tables
    }
}

extension NormalizerStep {
    fileprivate var extra: JSONValue {
        switch self {
        case .prepend(let bytes): .array([.string("prepend"), .string(bytes)])
        case .replace(let pattern, let content):
            .array([.string("replace"), .string(pattern), .string(content)])
        }
    }

    fileprivate init(extra: JSONValue, _ reader: ExtrasReader) throws {
        let parts = extra.array ?? []
        let strings = parts.dropFirst().compactMap(\.bytes)
        switch (parts.first?.text, strings.count) {
        case ("prepend", 1): self = .prepend(strings[0])
        case ("replace", 2): self = .replace(strings[0], with: strings[1])
        case (let name, _):
            throw reader.error("normalizer", "prepend or replace", name ?? "another step")
        }
    }
}

extension DecoderStep {
    fileprivate var extra: JSONValue {
        switch self {
        case .replace(let pattern, let content):
            .array([.string("replace"), .string(pattern), .string(content)])
        case .byteFallback: .array([.string("byteFallback")])
        case .fuse: .array([.string("fuse")])
        case .strip(let scalar, let left, let right):
            .array([
                .string("strip"), .integer(Int(scalar)), .integer(left), .integer(right),
            ])
        case .metaspace(let marker, let dropFirst):
            .array([.string("metaspace"), .string(marker), .bool(dropFirst)])
        }
    }

    fileprivate init(extra: JSONValue, _ reader: ExtrasReader) throws {
        let parts = extra.array ?? []
        let strings = parts.dropFirst().compactMap(\.bytes)
        let numbers = parts.compactMap(\.integer)
        switch (parts.first?.text, parts.count) {
        case ("replace", 3) where strings.count == 2:
            self = .replace(strings[0], with: strings[1])
        case ("byteFallback", 1): self = .byteFallback
        case ("fuse", 1): self = .fuse
        case ("strip", 4) where numbers.count == 3 && numbers.allSatisfy({ $0 >= 0 }):
            self = .strip(
                UInt32(clamping: numbers[0]), left: numbers[1], right: numbers[2])
        case ("metaspace", 3) where strings.count == 1 && parts[2].bool != nil:
            self = .metaspace(strings[0], dropFirst: parts[2].bool == true)
        case (let name, _): throw reader.error("decoder", "a known step", name ?? "another step")
        }
    }
}

extension WordPieceTables {
    private static let extrasFile = "WordPiece extras"
    private static let extrasFormat = 1

    /// Everything but the pieces, as JSON. Goes back with `init(pieces:extrasJSON:)`.
    public var extrasJSON: String {
        let json = JSONValue.make([
            "format": .integer(Self.extrasFormat),
            "added": .array(addedTokens.map(\.extra)),
            "unk": .id(unkID),
            "pad": .id(padID),
            "prefix": .ids(prefixIDs),
            "suffix": .ids(suffixIDs),
            "cleanText": .bool(cleanText),
            "spaceChinese": .bool(spaceChinese),
            "stripAccents": .bool(stripAccents),
            "lowercase": .bool(lowercase),
            "continuing": .string(continuingPrefix),
            "wordLength": .integer(maximumWordLength),
            "truncationSide": .string(truncationSide.rawValue),
            "limit": maximumLength.map { .integer($0) } ?? .null,
            "cleanUp": .bool(cleanUpSpaces),
        ])
        return json.encoded(.compact)
    }

    /// Tables from pieces and from what `extrasJSON` gave.
    ///
    /// - Throws: `InputError` naming the key.
    public init(pieces: [[UInt8]], extrasJSON: String) throws {
        let reader = try ExtrasReader(
            extrasJSON, file: Self.extrasFile, format: Self.extrasFormat, pieces: pieces.count)
        self.pieces = pieces
        guard let unknown = try reader.optionalID("unk") else {
            throw reader.error("unk", "an id", "null")
        }
        unkID = unknown
        padID = try reader.optionalID("pad")
        addedTokens = try reader.addedTokens("added")
        prefixIDs = try reader.ids("prefix")
        suffixIDs = try reader.ids("suffix")
        cleanText = try reader.bool("cleanText")
        spaceChinese = try reader.bool("spaceChinese")
        stripAccents = try reader.bool("stripAccents")
        lowercase = try reader.bool("lowercase")
        continuingPrefix = try reader.bytes("continuing")
        maximumWordLength = try reader.integer("wordLength")
        truncationSide = try reader.side("truncationSide")
        maximumLength = try reader.optionalInteger("limit")
        cleanUpSpaces = try reader.bool("cleanUp")
    }
}
