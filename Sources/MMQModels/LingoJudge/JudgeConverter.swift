import Foundation
import MMQBase
import MMQFormats
import MMQText

/// Turns the `wayveai/Lingo-Judge` folder into `judge-<type>.gguf`.
///
/// Everything that can be wrong with the checkpoint's description is found before anything is
/// written. The file gets its name only when it is complete.
public final class JudgeConverter: Sendable {
    /// What the judge is.
    public let config: LingoJudgeConfig
    /// Bytes of weights that will be read.
    public let sourceBytes: Int
    /// Tensors that are stored in another type because their rows are no whole blocks.
    public var fallbacks: [Fallback] { plan.fallbacks }
    private let plan: ConversionPlan
    private let options: ConversionOptions
    private let metadata: [(key: String, value: GGUFValue)]

    /// Whether a folder's `config.json` names a judge's architecture.
    public static func accepts(checkpoint path: String) throws -> Bool {
        let folder = CheckpointFolder(path: path)
        guard folder.has("config.json") else { return false }
        let json = try JSONValue(file: folder.file("config.json"))
        return json["model_type"] == .string(LingoJudgeConfig.architecture)
    }

    /// Reads and checks a checkpoint folder.
    ///
    /// - Parameter options: the `type` of `types` is that of all matrices. Use `f32` unless memory is short: a
    ///   judge is a yardstick, and near 0 its rounding decides.
    public init(checkpoint path: String, options: ConversionOptions) throws {
        let folder = CheckpointFolder(path: path)
        let configFile = folder.file("config.json")
        config = try LingoJudgeConfig(json: JSONValue(file: configFile), file: configFile)
        self.options = options
        plan = try ConversionPlan(judge: config, folder: path, type: options.types.type)
        sourceBytes = plan.sourceBytes
        let tables = try UnigramTables.load(folder: path)
        guard tables.pieces.count <= config.vocabularySize else {
            throw InputError(
                .badValue, file: path, item: "tokenizer",
                expected: "at most vocab_size \(config.vocabularySize) tokens",
                found: "\(tables.pieces.count)")
        }
        metadata =
            GeneralMetadata(name: folder.name)
            .members(
                architecture: LingoJudgeConfig.architecture, kind: .model,
                fileType: options.types.fileType)
            + config.metadata + UnigramMetadata.members(tables)
    }

    /// Writes `judge-<type>.gguf`.
    ///
    /// - Parameters:
    ///   - folder: made if it is not there; must not hold GGUF files unless `options.replace`.
    ///   - progress: called with the source bytes done so far, from any thread, one call at a time;
    ///     what it throws ends the conversion.
    /// - Returns: the file's path and its size in bytes.
    @discardableResult
    public func convert(
        to folder: String, progress: @escaping @Sendable (_ done: Int) throws -> Void = { _ in }
    ) throws -> (path: String, bytes: Int) {
        let made = try Converter.makeFolder(folder, replace: options.replace)
        do {
            let name = "\(ModelFileRole.judge.rawValue)-\(options.types.type.rawValue).gguf"
            let writer = try GGUFWriter(
                path: (folder as NSString).appendingPathComponent(name), metadata: metadata,
                tensors: plan.declarations(.judge))
            do {
                let counter = ProgressCounter(progress)
                try TensorConverter(
                    tensors: plan.tensors, writers: [.judge: writer], progress: counter.add
                ).run(threads: options.threads)
                try writer.finish()
                try writer.commit()
                return (writer.path, writer.byteCount)
            } catch {
                writer.abandon()
                throw error
            }
        } catch {
            // Only a folder made here and now is removed, and only if nothing else is in it.
            if made { rmdir(folder) }
            throw error
        }
    }
}

extension ConversionPlan {
    /// Matches a judge's checkpoint with its table.
    init(judge config: LingoJudgeConfig, folder: String, type: StoredType) throws {
        try self.init(
            table: TensorTable(config), hasHead: true, architecture: LingoJudgeConfig.architecture,
            checkpoint: SafetensorsCheckpoint(folder: folder)
        ) { type.type(of: $0) }
    }
}
