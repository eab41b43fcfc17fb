import MMQBase
import MMQFormats
import MMQModels

/// What a client calls a request.
enum SessionID: Hashable {
    case text(String)
    case number(Int)

    /// As it was written.
    var json: JSONValue {
        switch self {
        case .text(let text): .string(text)
        case .number(let number): .integer(number)
        }
    }
}

/// A request for an answer, or for a pass only.
struct RunRequest {
    enum Mask {
        /// A mask file, or a setting of the study.
        case name(String)
        case document(JSONValue)
    }

    let id: SessionID
    let image: String
    let prompt: String
    let isRaw: Bool
    let options: GenerationOptions
    let mask: Mask?
    let study: String?
    let sites: [String]
    let type: SafetensorsType
    let lens: LensOptions?
    let isStreamed: Bool
}

/// A line of a session's input.
enum SessionRequest {
    case run(RunRequest)
    case cancel(SessionID)
    case info
    case end
}

/// A line that cannot be taken.
struct RefusedRequest: Error {
    /// What a run called itself, if that could be read.
    var id: SessionID?
    /// What was asked for, if that could be read and was no run.
    var operation: String?
    let error: InputError
}

extension SessionRequest {
    /// Reads a line.
    ///
    /// - Throws: `RefusedRequest`.
    init(line: [UInt8]) throws {
        let reader: RequestReader
        do {
            reader = try RequestReader(JSONValue(parsing: line, file: RequestReader.name))
        } catch let error as InputError {
            throw RefusedRequest(error: error)
        }
        do {
            self = try Self.read(reader)
        } catch let error as InputError {
            // Others name a request that is not theirs.
            switch try? reader.text("op") {
            case "run": throw RefusedRequest(id: try? reader.id(), error: error)
            case let operation: throw RefusedRequest(operation: operation, error: error)
            }
        }
    }

    private static func read(_ reader: RequestReader) throws -> SessionRequest {
        let operation = try reader.text("op")
        switch operation {
        case "run": return .run(try run(reader))
        case "cancel":
            try reader.allow(["id"])
            return .cancel(try reader.id())
        case "info":
            try reader.allow([])
            return .info
        case "end":
            try reader.allow([])
            return .end
        default: throw reader.fault("op", "run, cancel, info or end", quoted(operation))
        }
    }

    private static func run(_ reader: RequestReader) throws -> RunRequest {
        try reader.allow([
            "id", "image", "prompt", "raw", "max_tokens", "temperature", "top_k", "top_p", "seed",
            "mask", "study", "sites", "dtype", "lens", "stream",
        ])
        let temperature = try reader.number("temperature", 0...1e6, "0 or more") ?? 0
        let topK = try reader.integer("top_k", 1...Int.max)
        let topP = try reader.number("top_p", 0...1, "from 0 to 1")
        if temperature == 0, let key = topK != nil ? "top_k" : topP != nil ? "top_p" : nil {
            throw reader.fault("temperature", "above 0 with \(key)", "0")
        }
        let dtype = try reader.optionalText("dtype") ?? "f32"
        guard let type = ["f32": SafetensorsType.f32, "f16": .f16][dtype] else {
            throw reader.fault("dtype", "f32 or f16", quoted(dtype))
        }
        return RunRequest(
            id: try reader.id(), image: try reader.text("image"),
            prompt: try reader.text("prompt"), isRaw: try reader.flag("raw"),
            options: GenerationOptions(
                sampling: SamplingOptions(
                    temperature: temperature, topK: topK ?? 0, topP: topP ?? 1,
                    seed: UInt64(try reader.integer("seed", 0...Int.max) ?? 0)),
                maxTokens: try reader.integer("max_tokens", 0...Int.max) ?? 256),
            mask: try reader.mask(), study: try reader.optionalText("study"),
            sites: try reader.texts("sites"), type: type, lens: try lens(reader),
            isStreamed: try reader.flag("stream"))
    }

    /// How the lens looks, as the options of `mmq logit-lens` have it; nil if none is wanted.
    private static func lens(_ reader: RequestReader) throws -> LensOptions? {
        guard let reader = try reader.object("lens") else { return nil }
        try reader.allow(["top", "part", "all_rows"])
        let usual = LensOptions()
        let name = try reader.optionalText("part") ?? usual.part.rawValue
        guard let part = LayerPart(rawValue: name) else {
            let parts = LayerPart.allCases.map(\.rawValue)
            throw reader.fault("part", "\(words: parts, "or")", quoted(name))
        }
        return LensOptions(
            top: try reader.integer("top", LensOptions.tops) ?? usual.top,
            hidesFiller: !(try reader.flag("all_rows")), part: part)
    }
}

/// The members of a request, each checked when it is asked for.
private struct RequestReader {
    /// What stands for a file in errors.
    static let name = "request"

    let value: JSONValue
    /// The key of the request that this is the value of; nil if it is the request.
    private let place: String?

    init(_ value: JSONValue) throws {
        guard value.members != nil else {
            throw InputError(
                .badValue, file: Self.name, expected: "a JSON object on a line", found: value.kind)
        }
        self.value = value
        place = nil
    }

    private init(_ value: JSONValue, of key: String) {
        self.value = value
        place = key
    }

    /// An object that is the value of a key.
    func object(_ key: String) throws -> RequestReader? {
        guard let found = value.present(key) else { return nil }
        guard found.members != nil else { throw fault(key, "an object", found.kind) }
        return RequestReader(found, of: key)
    }

    private func item(_ key: String) -> String { "key '\(place.map { $0 + "." } ?? "")\(key)'" }

    func fault(_ key: String, _ expected: String, _ found: String) -> InputError {
        InputError(
            .badValue, file: Self.name, item: item(key), expected: expected, found: found)
    }

    /// Refuses every key but these, and `op` of a request: a misspelt one would be passed over in
    /// silence.
    func allow(_ keys: [String]) throws {
        let keys = (place == nil ? ["op"] : []) + keys
        for (key, _) in value.members ?? [] where !keys.contains(key) {
            throw InputError(
                .badValue, file: Self.name, item: place.map { "key '\($0)'" },
                expected: "no keys but " + keys.joined(separator: ", "), found: quoted(key))
        }
    }

    private func needed(_ key: String) throws -> JSONValue {
        guard let found = value.present(key) else {
            throw InputError(.missingKey, file: Self.name, item: item(key))
        }
        return found
    }

    func text(_ key: String) throws -> String {
        let found = try needed(key)
        guard let text = found.text else { throw fault(key, "a text", found.kind) }
        return text
    }

    func optionalText(_ key: String) throws -> String? {
        try value.present(key).map { _ in try text(key) }
    }

    func id() throws -> SessionID {
        let found = try needed("id")
        if let number = found.integer { return .number(number) }
        guard let text = found.text, text.utf8.count <= 200 else {
            throw fault("id", "a number or a text of at most 200 bytes", found.kind)
        }
        return .text(text)
    }

    func flag(_ key: String) throws -> Bool {
        guard let found = value.present(key) else { return false }
        guard let flag = found.bool else { throw fault(key, "true or false", found.kind) }
        return flag
    }

    func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let found = value.present(key) else { return nil }
        guard let number = found.integer, range.contains(number) else {
            let (low, high) = (range.lowerBound, range.upperBound)
            let bounds = high == .max ? "of \(low) or more" : "from \(low) to \(high)"
            throw fault(key, "an integer \(bounds)", found.kind)
        }
        return number
    }

    func number(_ key: String, _ range: ClosedRange<Double>, _ words: String) throws -> Double? {
        guard let found = value.present(key) else { return nil }
        guard let number = found.double, range.contains(number) else {
            throw fault(key, "a number \(words)", found.kind)
        }
        return number
    }

    func texts(_ key: String) throws -> [String] {
        guard let found = value.present(key) else { return [] }
        let texts = found.array?.map(\.text)
        guard let texts, !texts.contains(nil) else {
            throw fault(key, "a list of texts", found.kind)
        }
        return texts.compactMap { $0 }
    }

    func mask() throws -> RunRequest.Mask? {
        guard let found = value.present("mask") else { return nil }
        if let name = found.text { return .name(name) }
        guard found.members != nil else {
            throw fault("mask", "a file's name, a setting or an object", found.kind)
        }
        return .document(found)
    }
}
