import MMQBase
import MMQFormats

/// A part of the decoder, under the name by which rules know it.
public enum WeightPart: String, Sendable, CaseIterable {
    /// The attention's matrices.
    case q, k, v, o
    /// The feed-forward part's.
    case gate, up, down
    /// The token embedding table, and the output head where it is a tensor of its own.
    case embedding, head

    /// The tensor's name in the GGUF file, of a layer's part without the layer.
    var tensor: String {
        switch self {
        case .q: "attn_q.weight"
        case .k: "attn_k.weight"
        case .v: "attn_v.weight"
        case .o: "attn_output.weight"
        case .gate: "ffn_gate.weight"
        case .up: "ffn_up.weight"
        case .down: "ffn_down.weight"
        case .embedding: "token_embd.weight"
        case .head: "output.weight"
        }
    }

    /// The part that a tensor is, and its layer.
    static func of(_ name: String) -> (part: WeightPart, layer: Int?)? {
        let words = name.split(separator: ".", maxSplits: 2)
        let isLayer = words.count == 3 && words[0] == "blk"
        let tail = isLayer ? String(words[2]) : name
        guard let part = allCases.first(where: { $0.tensor == tail }) else { return nil }
        return (part, isLayer ? Int(words[1]) : nil)
    }
}

/// A part of the decoder that is stored in a type of its own.
public struct WeightRule: Sendable, Equatable {
    /// Which layers a rule is about.
    public enum Layers: Sendable, Equatable {
        /// All.
        case all
        /// The first and the last eighth, and every third between them: those that llama.cpp gives
        /// more bits (its `use_more_bits`).
        case sensitive

        func contains(_ layer: Int, of layers: Int) -> Bool {
            let eighth = layers / 8
            return self == .all || layer < eighth || layer >= 7 * layers / 8
                || (layer - eighth) % 3 == 2
        }
    }

    /// The part.
    public let part: WeightPart
    /// Its type.
    public let type: StoredType
    /// In which layers.
    public let layers: Layers

    /// A rule.
    public init(_ part: WeightPart, _ type: StoredType, in layers: Layers = .all) {
        self.part = part
        self.type = type
        self.layers = layers
    }

    /// Rules as the command line writes them: `gate=q8_0,down=q8_0`.
    ///
    /// - Throws: `InputError` that names what is no rule, or the part that has two.
    public static func list(_ texts: [String]) throws -> [WeightRule] {
        var rules: [WeightRule] = []
        let words = texts.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }
        for word in words {
            let halves = word.split(separator: "=", omittingEmptySubsequences: false)
            guard halves.count == 2, let part = WeightPart(rawValue: String(halves[0])),
                let type = StoredType(rawValue: String(halves[1]))
            else {
                throw InputError(
                    .badInput, file: "--keep", item: "rule '\(word)'",
                    expected: "PART=TYPE, PART one of "
                        + WeightPart.allCases.map(\.rawValue).joined(separator: ", ")
                        + ", TYPE one of "
                        + StoredType.allCases.map(\.rawValue).joined(separator: ", "))
            }
            guard !rules.contains(where: { $0.part == part }) else {
                throw InputError(
                    .duplicate, file: "--keep", item: "rule '\(word)'",
                    expected: "one type for \(part.rawValue)",
                    found: "two")
            }
            rules.append(WeightRule(part, type))
        }
        return rules
    }
}

/// How the decoder's weights are stored: one type, and what is stored otherwise.
public struct WeightTypes: Sendable, Equatable {
    /// What the language file is called after: the type's or the recipe's name.
    public let name: String
    /// The type of what no rule names.
    public let type: StoredType
    /// A recipe's rules: of those that name a part and a layer the last decides.
    public let recipe: [WeightRule]
    /// What decides before the recipe.
    public let kept: [WeightRule]
    /// `general.file_type`, as llama.cpp numbers it.
    let fileType: UInt32

    /// One type for all; embedding table and head stay q8_0 where it has blocks.
    public init(_ type: StoredType) {
        self.init(name: type.rawValue, type: type, fileType: type.fileType, recipe: [])
    }

    private init(
        name: String, type: StoredType, fileType: UInt32, recipe: [WeightRule],
        kept: [WeightRule] = []
    ) {
        self.name = name
        self.type = type
        self.fileType = fileType
        self.recipe = recipe
        self.kept = kept
    }

    /// llama.cpp's "medium" mixtures.
    private static func medium(_ name: String, _ type: StoredType, _ fileType: UInt32)
        -> WeightTypes
    {
        WeightTypes(
            name: name, type: type, fileType: fileType,
            recipe: [
                WeightRule(.embedding, type), WeightRule(.head, .q6_k),
                WeightRule(.v, .q6_k, in: .sensitive), WeightRule(.down, .q6_k, in: .sensitive),
            ])
    }

    /// Mixtures that have a name.
    public static let recipes: [WeightTypes] = [
        // What decides which neurons fire in eight bits: fewer flipped signs than iq4_nl's.
        WeightTypes(
            name: "iq4_nl_gate", type: .iq4_nl, fileType: StoredType.iq4_nl.fileType,
            recipe: [WeightRule(.gate, .q8_0)]),
        medium("q4_k_m", .q4_k, 15),
        medium("q5_k_m", .q5_k, 17),
    ]

    /// The names of all types and recipes.
    public static let names = StoredType.allCases.map(\.rawValue) + recipes.map(\.name)

    /// A type or recipe by its name; nil if there is none of that name.
    public init?(named name: String) {
        if let type = StoredType(rawValue: name) {
            self.init(type)
        } else if let recipe = Self.recipes.first(where: { $0.name == name }) {
            self = recipe
        } else {
            return nil
        }
    }

    /// The same but for what `rules` say.
    public func keeping(_ rules: [WeightRule]) -> WeightTypes {
        rules.isEmpty
            ? self
            : WeightTypes(
                name: name + "-mix", type: type, fileType: fileType, recipe: recipe,
                kept: kept + rules)
    }

    /// The GGUF type of a decoder's tensor, whole blocks or not.
    ///
    /// - Parameter hasHead: whether the head is a tensor of its own: else a recipe's rule for it
    ///   is about the embedding table, which serves as both.
    func type(of row: TensorRow, layers: Int, hasHead: Bool) -> GGUFTensorType {
        guard let (part, layer) = WeightPart.of(row.name) else { return type.type(of: row) }
        func last(_ rules: [WeightRule], _ part: WeightPart) -> StoredType? {
            rules.last { rule in
                rule.part == part
                    && (layer.map { rule.layers.contains($0, of: layers) } ?? true)
            }?.type
        }
        let asRecipe = part == .embedding && !hasHead ? [WeightPart.head, part] : [part]
        let chosen =
            last(kept, part) ?? asRecipe.lazy.compactMap { last(recipe, $0) }.first
        return chosen?.tensorType ?? type.type(of: row)
    }

    /// Refuses rules that name nothing.
    func check(_ rows: [TensorRow], folder: String) throws {
        for rule in kept {
            guard rows.contains(where: { WeightPart.of($0.name)?.part == rule.part }) else {
                throw InputError(
                    .badInput, file: folder, item: "rule '\(rule.part.rawValue)'",
                    expected: "a part that the model has", found: "no \(rule.part.tensor)")
            }
        }
    }
}
