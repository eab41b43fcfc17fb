import ArgumentParser
import CSIMD
import Foundation
import MMQModels

extension StoredType: ExpressibleByArgument {}

extension WeightTypes: ExpressibleByArgument {
    /// The name, as one would type it.
    public var defaultValueDescription: String { name }

    /// A type or recipe by its name.
    public init?(argument: String) { self.init(named: argument) }

    /// The names, for help and completion.
    public static var allValueStrings: [String] { names }
}

/// `mmq convert`: a Hugging Face folder to a model folder.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Turn a Hugging Face checkpoint into GGUF files.",
        discussion: """
            Makes language-<type>.gguf, which other GGUF programs read too, and vision-<type>.gguf; \
            of a judge (wayveai/Lingo-Judge) it makes one file, judge-<type>.gguf. \
            Nothing appears under these names before it is complete. Norms, biases, positions \
            and the Q-Former's embeddings stay f32; where matrices have fewer than eight bits, the embedding table and the output \
            head are q8_0. Rows that are no multiple of 256 are stored as q5_0 in place of q4_k, q5_1 \
            of q5_k, q8_0 of q6_k; rows that are no multiple of 32 as f16.

            --type also takes a recipe: iq4_nl_gate is iq4_nl with the matrices in q8_0 that decide \
            which neurons fire; q4_k_m and q5_k_m are llama.cpp's mixtures of those names. --keep \
            stores parts of the decoder in other types: q, k, v, o (attention), gate, up, down \
            (feed-forward), embedding, head. The file's name then ends in -mix; inspect prints the \
            bits a weight takes.
            """)

    @Argument(help: "The checkpoint's folder: config.json, *.safetensors, tokenizer, processor.")
    var checkpoint: String

    @Option(help: "The folder to make.")
    var output: String

    @Option(
        help: """
            The language model's weights: f32, f16, bf16, q8_0, iq4_nl, q4_0 (as small as iq4_nl, \
            faster on CPUs without VNNI, and further from the original), q4_k, q5_k, q6_k, q4_1, \
            q5_0, q5_1 or a recipe (default: q4_0, with --importance iq4_nl; for a judge f32, so \
            that its scores are the official ones).
            """)
    var type: WeightTypes?

    @Option(
        help: """
            Parts of the decoder in other types, gate=q8_0,down=q8_0 for example; may be repeated.
            """)
    var keep: [String] = []

    @Option(help: "The vision part's weights, likewise (default: q8_0).")
    var visionType: StoredType?

    @Option(
        help: """
            What the model's quantized products round activations to unless told otherwise when it \
            is opened (default: int8).
            """)
    var activations: Activations?

    @Option(
        help: """
            An importance file (mmq calibrate, or llama.cpp's llama-imatrix): the scales of weights \
            of four to eight bits are those that leave the least error weighed with it.
            """)
    var importance: String?

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Replace files of the same name; without it a folder with GGUF files is refused.")
    var force = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        let isJudge = try JudgeConverter.accepts(checkpoint: checkpoint)
        // Without importance iq4_nl gains little, and is slow where there is no VNNI.
        let types = type ?? WeightTypes(isJudge ? .f32 : importance == nil ? .q4_0 : .iq4_nl)
        let rules = try WeightRule.list(keep)
        if isJudge, !rules.isEmpty || !types.recipe.isEmpty {
            throw ValidationError("A judge has no such parts: --type with one type, no --keep.")
        }
        if isJudge, visionType != nil || activations != nil {
            throw ValidationError("A judge has no vision part, and no --activations.")
        }
        if isJudge, importance != nil {
            throw ValidationError(
                "An importance file is of a model's decoder, which a judge has not.")
        }
        let options = ConversionOptions(
            types: types.keeping(rules), visionType: visionType ?? .q8_0,
            activations: activations ?? .int8, importance: importance,
            threads: threading.threads ?? Int(csimd_threads()), replace: force)
        if isJudge {
            try convertJudge(JudgeConverter(checkpoint: checkpoint, options: options))
        } else {
            try convertModel(Converter(checkpoint: checkpoint, options: options))
        }
    }

    private func convertModel(_ converter: Converter) throws {
        noteFallbacks(converter.fallbacks)
        if converter.template == .unknown {
            Diagnostics.note(
                "note: the checkpoint's chat template is none that mmq knows; ask the model with "
                    + "--raw-prompt")
        }
        let (result, seconds) = try watched(converter.sourceBytes) {
            try converter.convert(to: output, progress: $0)
        }
        ModelFiles.noteOthers(in: output)
        try report(
            Report(
                architecture: converter.model.architecture.modelType, language: result.language,
                vision: result.vision, sourceBytes: result.sourceBytes,
                outputBytes: result.outputBytes, seconds: seconds,
                fallbacks: converter.fallbacks))
    }

    private func convertJudge(_ converter: JudgeConverter) throws {
        noteFallbacks(converter.fallbacks)
        let (result, seconds) = try watched(converter.sourceBytes) {
            try converter.convert(to: output, progress: $0)
        }
        try report(
            Report(
                architecture: LingoJudgeConfig.architecture, judge: result.path,
                sourceBytes: converter.sourceBytes, outputBytes: result.bytes, seconds: seconds,
                fallbacks: converter.fallbacks))
    }

    /// Runs a conversion with progress, an end on interrupt, and a clock.
    private func watched<T>(
        _ bytes: Int, _ convert: (@escaping @Sendable (Int) throws -> Void) throws -> T
    ) throws -> (result: T, seconds: Double) {
        let interrupt = InterruptFlag()
        let progress = ConversionProgress(total: bytes)
        let clock = ContinuousClock()
        let start = clock.now
        let result: T
        do {
            result = try convert { done in
                if interrupt.isRaised { throw CancellationError() }
                progress.update(done)
            }
        } catch is CancellationError {
            progress.clear()
            Diagnostics.note("Interrupted. Nothing was kept.")
            throw ExitCode(130)
        } catch {
            progress.clear()
            throw error
        }
        progress.clear()
        return (result, clock.seconds(since: start))
    }

    private func report(_ report: Report) throws {
        if json { return try Diagnostics.printJSON(report) }
        for file in [report.language, report.vision, report.judge] {
            if let file { print(file) }
        }
        Diagnostics.note(
            String(
                format: "%@: %.2f GB of weights to %.2f GB in %.1f s", report.architecture,
                Double(report.sourceBytes) / 1e9, Double(report.outputBytes) / 1e9, report.seconds))
    }

    private func noteFallbacks(_ all: [Fallback]) {
        for type in Set(all.map(\.type)).sorted(by: { $0.rawValue < $1.rawValue }) {
            let names = all.filter { $0.type == type }.map(\.tensor)
            let more = names.count > 1 ? " and \(names.count - 1) more" : ""
            Diagnostics.note(
                "note: rows of \(names[0])\(more) are no whole blocks, stored as "
                    + type.name.lowercased())
        }
    }

    private struct Report: Encodable {
        var schema = 2
        let architecture: String
        var language: String?
        var vision: String?
        var judge: String?
        let sourceBytes: Int
        let outputBytes: Int
        let seconds: Double
        let fallbacks: [Fallback]

        enum CodingKeys: String, CodingKey {
            case schema, architecture, language, vision, judge, seconds, fallbacks
            case sourceBytes = "source_bytes"
            case outputBytes = "output_bytes"
        }
    }
}

/// Progress in megabytes. The converter calls it from its threads, one call at a time.
private final class ConversionProgress: @unchecked Sendable {
    private let total: Int
    private let report = ProgressReport("converting")

    init(total: Int) { self.total = total }

    func update(_ done: Int) {
        report.update(
            Double(done) / Double(max(1, total)), done: done / 1_000_000, unit: "MB")
    }

    func clear() { report.clear() }
}
