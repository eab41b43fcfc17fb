import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// What `Converter` is to do.
public struct ConversionOptions: Sendable {
    /// The types of the decoder's weights.
    public var types: WeightTypes
    /// The type of the vision file's weights.
    public var visionType: StoredType
    /// What the model rounds activations to if nothing else is said when it is opened.
    public var activations: Activations
    /// The importance file that errors in the decoder's weights are weighed with, where their type
    /// takes it.
    public var importance: String?
    /// Threads to convert with.
    public var threads: Int
    /// Whether files of the same name may be replaced.
    public var replace: Bool

    /// One type for all of the decoder's weights.
    public init(
        type: StoredType = .q4_0, visionType: StoredType = .q8_0,
        activations: Activations = .int8, importance: String? = nil, threads: Int = 1,
        replace: Bool = false
    ) {
        self.init(
            types: WeightTypes(type), visionType: visionType, activations: activations,
            importance: importance, threads: threads, replace: replace)
    }

    /// The decoder's weights as a recipe or rules say.
    public init(
        types: WeightTypes, visionType: StoredType = .q8_0, activations: Activations = .int8,
        importance: String? = nil, threads: Int = 1, replace: Bool = false
    ) {
        self.types = types
        self.visionType = visionType
        self.activations = activations
        self.importance = importance
        self.threads = threads
        self.replace = replace
    }
}

/// What a conversion made.
public struct ConversionResult: Sendable {
    /// The language file.
    public let language: String
    /// The vision file.
    public let vision: String
    /// Bytes of weights read.
    public let sourceBytes: Int
    /// Bytes of both files.
    public let outputBytes: Int
}

/// Turns a Hugging Face checkpoint into a model folder.
///
/// Everything that can be wrong with the checkpoint's description is found before anything is
/// written. The two files get their names only when both are complete.
public final class Converter: Sendable {
    /// The model that the checkpoint holds.
    public let model: any ModelConfiguration
    /// What the model's turns look like.
    public let template: ChatTemplate
    /// Bytes of weights that will be read.
    public let sourceBytes: Int
    /// Tensors that are stored in another type because their rows are no whole blocks.
    public var fallbacks: [Fallback] { plan.fallbacks }
    private let plan: ConversionPlan
    private let options: ConversionOptions
    private let languageMetadata: [(key: String, value: GGUFValue)]
    private let visionMetadata: [(key: String, value: GGUFValue)]

    /// Reads and checks a checkpoint folder.
    public init(checkpoint path: String, options: ConversionOptions) throws {
        let folder = CheckpointFolder(path: path)
        guard folder.has("config.json") else {
            throw InputError(
                .unreadable, file: path, expected: "a Hugging Face folder with config.json",
                found: "no such file")
        }
        model = try Architectures.configuration(configFile: folder.file("config.json"))
        self.options = options
        var plan = try ConversionPlan(
            model: model, checkpoint: SafetensorsCheckpoint(folder: path),
            language: options.types, vision: options.visionType)
        if let path = options.importance {
            let importance = try ImportanceFile(path: path)
            try importance.require(model.architecture)
            try plan.weigh(with: importance)
        }
        self.plan = plan
        sourceBytes = plan.sourceBytes
        template = model.architecture.chatTemplate(try folder.template())
        let general = GeneralMetadata(name: folder.name)
        let tokenizers = try TokenizerMetadata.read(folder: path, model: model)
        languageMetadata =
            general.members(
                architecture: "llama", kind: .model, fileType: options.types.fileType)
            + model.text.metadata + tokenizers.language + options.activations.metadata
        visionMetadata =
            try general.members(
                architecture: "clip", kind: .mmproj, fileType: options.visionType.fileType)
            + model.visionMetadata
            + ProcessorMetadata.read(folder, model: model, template: template)
            + tokenizers.vision
    }

    /// Writes the model folder.
    ///
    /// - Parameters:
    ///   - folder: made if it is not there; must not hold GGUF files unless `replace` is set.
    ///   - progress: called with the source bytes done so far, from any thread, one call at a time;
    ///     what it throws ends the conversion.
    @discardableResult
    public func convert(
        to folder: String, progress: @escaping @Sendable (_ done: Int) throws -> Void = { _ in }
    ) throws -> ConversionResult {
        let made = try Self.makeFolder(folder, replace: options.replace)
        do {
            return try write(folder, progress)
        } catch {
            // Only a folder made here and now is removed, and only if nothing else is in it.
            if made { rmdir(folder) }
            throw error
        }
    }

    /// Returns whether the folder had to be made.
    static func makeFolder(_ folder: String, replace: Bool) throws -> Bool {
        guard let there = isFolder(folder) else {
            try MMQBase.makeFolder(folder)
            return true
        }
        guard there else {
            throw InputError(
                .alreadyExists, file: folder, expected: "a folder", found: "a file of that name")
        }
        let old = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        if let name = old.sorted().first(where: { $0.hasSuffix(".gguf") }), !replace {
            throw InputError(
                .alreadyExists, file: folder, expected: "a folder without GGUF files (or --force)",
                found: name)
        }
        return false
    }

    private func write(
        _ folder: String, _ progress: @escaping @Sendable (Int) throws -> Void
    ) throws -> ConversionResult {
        func path(_ role: ModelFileRole, _ type: String) -> String {
            (folder as NSString).appendingPathComponent("\(role.rawValue)-\(type).gguf")
        }
        let language = try GGUFWriter(
            path: path(.language, options.types.name), metadata: languageMetadata,
            tensors: plan.declarations(.language))
        do {
            let vision = try GGUFWriter(
                path: path(.vision, options.visionType.rawValue), metadata: visionMetadata,
                tensors: plan.declarations(.vision))
            do {
                let counter = ProgressCounter(progress)
                try TensorConverter(
                    tensors: plan.tensors, writers: [.language: language, .vision: vision],
                    progress: counter.add
                ).run(threads: options.threads)
                // Both are complete and on the disk before either gets its name.
                try language.finish()
                try vision.finish()
                try vision.commit()
                try language.commit()
                return ConversionResult(
                    language: language.path, vision: vision.path, sourceBytes: sourceBytes,
                    outputBytes: language.byteCount + vision.byteCount)
            } catch {
                vision.abandon()
                throw error
            }
        } catch {
            language.abandon()
            throw error
        }
    }
}

/// Adds up bytes; the converter calls it one call at a time.
final class ProgressCounter: @unchecked Sendable {
    private var done = 0
    private let report: @Sendable (Int) throws -> Void

    init(_ report: @escaping @Sendable (Int) throws -> Void) { self.report = report }

    func add(_ bytes: Int) throws {
        done += bytes
        try report(done)
    }
}

/// The `general.*` keys.
struct GeneralMetadata {
    /// `general.type`, in llama.cpp's words.
    enum Kind: String { case model, mmproj }

    let name: String

    func members(
        architecture: String, kind: Kind, fileType: UInt32
    ) -> [(key: String, value: GGUFValue)] {
        [
            ("general.architecture", .string(architecture)),
            ("general.type", .string(kind.rawValue)),
            ("general.name", .string(name)),
            ("general.file_type", .uint32(fileType)),
            ("general.quantization_version", .uint32(2)),
            (GGUFWriter.digestKey, .uint64(0)),
        ]
    }
}
