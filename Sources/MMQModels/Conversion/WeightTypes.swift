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
    /// The part.
    public let part: WeightPart
    /// Its type.
    public let type: StoredType

    /// A rule.
    public init(_ part: WeightPart, _ type: StoredType) {
        self.part = part
        self.type = type
    }

    /// Rules as the command line writes them: `gate=q8_0,down=q8_0`.
    ///
    /// - Throws: `InputError` that names what is no rule, or the part that has two.
    public static func list(_ text: String) throws -> [WeightRule] {
        var rules: [WeightRule] = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
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
                    .duplicate, file: "--keep", item: "rule '\(word)'", expected: "one type for \(part.rawValue)",
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
    /// The last rule that names a part decides.
    public let rules: [WeightRule]

    /// One type for all; embedding table and head stay q8_0 where it has blocks.
    public init(_ type: StoredType) {
        self.init(name: type.rawValue, type: type, rules: [])
    }

    private init(name: String, type: StoredType, rules: [WeightRule]) {
        self.name = name
        self.type = type
        self.rules = rules
    }

    /// Mixtures that have a name.
    public static let recipes: [WeightTypes] = [
        // What decides which neurons fire in eight bits: the least flipped signs for its size.
        WeightTypes(name: "iq4_nl_gate", type: .iq4_nl, rules: [WeightRule(.gate, .q8_0)])
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
            : WeightTypes(name: name + "-mix", type: type, rules: self.rules + rules)
    }

    /// The GGUF type of a decoder's tensor, whole blocks or not.
    func type(of row: TensorRow, layers: Int) -> GGUFTensorType {
        guard let (part, _) = WeightPart.of(row.name),
            let rule = rules.last(where: { $0.part == part })
        else { return type.type(of: row) }
        return rule.type.tensorType
    }

    /// Refuses rules that name nothing.
    func check(_ rows: [TensorRow], folder: String) throws {
        for rule in rules {
            guard rows.contains(where: { WeightPart.of($0.name)?.part == rule.part }) else {
                throw InputError(
                    .badInput, file: folder, item: "rule '\(rule.part.rawValue)'",
                    expected: "a part that the model has", found: "no \(rule.part.tensor)")
            }
        }
    }
}
