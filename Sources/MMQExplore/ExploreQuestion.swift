import MMQBase
import MMQModels

/// A question that a page asks.
public struct ExploreQuestion: Sendable, Equatable {
    /// A neuron by its place.
    public struct Neuron: Sendable, Equatable {
        /// The module's name.
        public let module: String
        /// The layer.
        public let layer: Int
        /// The neuron in it.
        public let neuron: Int
    }

    /// What is switched off or changed.
    public enum Mask: Sendable, Equatable {
        /// A setting of the study, `lang@med:mean` for example.
        case setting(String)
        /// Single neurons, and what becomes of their activations: a kind as a mask file has it.
        case neurons([Neuron], kind: String)
    }

    /// The picture's name on the shelf.
    public let picture: String
    /// The question, without a template unless `isRaw`.
    public let prompt: String
    /// Whether the prompt goes to the tokenizer as it is.
    public let isRaw: Bool
    /// What is switched off; nil for nothing.
    public let mask: Mask?
    /// Most tokens of the answer.
    public let maxTokens: Int
    /// Layers whose activations are kept whole: `mlp:MODULE.LAYER`.
    public let keep: [String]
    /// Whether the logit lens looks at it too.
    public let wantsLens: Bool
}

extension ExploreQuestion {
    private static let file = "request"
    private static let mostTokens = 1024
    private static let mostNeurons = 10_000

    /// Reads a request's body.
    ///
    /// - Throws: `InputError` naming the key.
    init(json bytes: [UInt8]) throws {
        let json = try JSONValue(parsing: bytes, file: Self.file)
        guard let members = json.members else {
            throw InputError(
                .badValue, file: Self.file, expected: "a JSON object", found: json.kind)
        }
        let known = ["picture", "prompt", "raw", "mask", "max_tokens", "keep", "lens"]
        if let other = members.first(where: { !known.contains($0.key) }) {
            throw Self.fault(other.key, "one of \(known.joined(separator: ", "))", "another key")
        }
        picture = try Self.text(json, "picture")
        prompt = try Self.text(json, "prompt")
        isRaw = try Self.flag(json, "raw")
        wantsLens = try Self.flag(json, "lens")
        maxTokens = try Self.whole(json, "max_tokens", 0...Self.mostTokens) ?? 64
        keep = try Self.list(json.present("keep"), "keep") { value in
            guard let word = value.text else { throw Self.fault("keep", "texts", value.kind) }
            return word
        }
        mask = try Self.mask(json.present("mask"))
    }

    private static func mask(_ value: JSONValue?) throws -> Mask? {
        guard let value else { return nil }
        if let setting = value.text { return .setting(setting) }
        guard value.members != nil else {
            throw fault("mask", "a setting, or an object with neurons and kind", value.kind)
        }
        let neurons = try list(value["neurons"], "neurons") { entry in
            Neuron(
                module: try text(entry, "module"),
                layer: try place(entry, "layer"),
                neuron: try place(entry, "neuron"))
        }
        guard !neurons.isEmpty else { return nil }
        return .neurons(
            neurons, kind: try value.present("kind") == nil ? "zero" : text(value, "kind"))
    }

    private static func place(_ json: JSONValue, _ key: String) throws -> Int {
        guard let number = try whole(json, key, 0...1 << 30) else {
            throw fault(key, "a whole number", "nothing")
        }
        return number
    }

    private static func list<T>(
        _ value: JSONValue?, _ key: String, _ read: (JSONValue) throws -> T
    ) throws -> [T] {
        guard let value else { return [] }
        guard let entries = value.array, entries.count <= mostNeurons else {
            throw fault(key, "a list of at most \(mostNeurons)", value.kind)
        }
        return try entries.map(read)
    }

    private static func text(_ json: JSONValue, _ key: String) throws -> String {
        guard let value = json[key], let text = value.text else {
            throw fault(key, "a text", json[key]?.kind ?? "nothing")
        }
        return text
    }

    private static func flag(_ json: JSONValue, _ key: String) throws -> Bool {
        guard let value = json.present(key) else { return false }
        guard let flag = value.bool else { throw fault(key, "true or false", value.kind) }
        return flag
    }

    private static func whole(
        _ json: JSONValue, _ key: String, _ range: ClosedRange<Int>
    ) throws -> Int? {
        guard let value = json.present(key) else { return nil }
        guard let number = value.integer, range.contains(number) else {
            throw fault(
                key, "a whole number from \(range.lowerBound) to \(range.upperBound)", value.kind)
        }
        return number
    }

    private static func fault(_ key: String, _ expected: String, _ found: String) -> InputError {
        InputError(
            .badValue, file: file, item: "key '\(key)'", expected: expected, found: found)
    }
}

extension ExploreQuestion.Mask {
    /// Single neurons as a mask file's document; nil for a setting.
    ///
    /// - Throws: `InputError` if a neuron is not the model's.
    public func document(_ modules: [ModuleShape]) throws -> JSONValue? {
        guard case .neurons(let neurons, let kind) = self else { return nil }
        var lists: [String: [[Int]]] = [:]
        for entry in neurons {
            guard let shape = modules.first(where: { $0.name == entry.module }),
                (0..<shape.layers).contains(entry.layer),
                (0..<shape.neurons).contains(entry.neuron)
            else {
                throw InputError(
                    .mismatch, file: "request", item: "neuron",
                    expected: "a neuron of the model",
                    found: "\(quoted(entry.module)), layer \(entry.layer), \(entry.neuron)")
            }
            lists[entry.module, default: Array(repeating: [], count: shape.layers)][entry.layer]
                .append(entry.neuron)
        }
        return .object(
            JSONObject(
                lists.sorted { $0.key < $1.key }.map { name, layers in
                    (
                        name,
                        .array(
                            layers.map { list in
                                let neurons = JSONValue.array(
                                    Set(list).sorted().map { .integer($0) })
                                guard kind != "zero", !list.isEmpty else { return neurons }
                                return .object(
                                    JSONObject([("neurons", neurons), ("kind", .string(kind))]))
                            })
                    )
                }))
    }
}
