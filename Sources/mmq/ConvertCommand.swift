import ArgumentParser
import CSIMD
import Foundation
import MMQModels

extension StoredType: ExpressibleByArgument {}

/// `mmq convert`: a Hugging Face folder to a model folder.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Turn a Hugging Face checkpoint into GGUF files.",
        discussion: """
            Makes language-<type>.gguf, which other GGUF programs read too, and vision-<type>.gguf. \
            Nothing appears under these names before it is complete. Norms, biases and positions \
            stay f32; with q4_0 the embedding table and the output head are q8_0. Rows that are no \
            multiple of 32 are stored as f16.
            """)

    @Argument(help: "The checkpoint's folder: config.json, *.safetensors, tokenizer, processor.")
    var checkpoint: String

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "The language model's weights: f32, f16, bf16, q8_0 or q4_0.")
    var type: StoredType = .q4_0

    @Option(help: "The vision part's weights, likewise.")
    var visionType: StoredType = .q8_0

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Replace files of the same name; without it a folder with GGUF files is refused.")
    var force = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        let options = ConversionOptions(
            type: type, visionType: visionType,
            threads: threading.threads ?? Int(csimd_threads()), replace: force)
        let converter = try Converter(checkpoint: checkpoint, options: options)
        noteFallbacks(converter.fallbacks)
        let interrupt = InterruptFlag()
        let progress = ConversionProgress(total: converter.sourceBytes)
        let clock = ContinuousClock()
        let start = clock.now
        let result: ConversionResult
        do {
            result = try converter.convert(to: output) { done in
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
        let duration = clock.now - start
        let seconds =
            Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        if json {
            try Diagnostics.printJSON(
                Report(
                    architecture: converter.model.architecture, language: result.language,
                    vision: result.vision, sourceBytes: result.sourceBytes,
                    outputBytes: result.outputBytes, seconds: seconds,
                    storedAsF16: converter.fallbacks))
        } else {
            print(result.language)
            print(result.vision)
            Diagnostics.note(
                String(
                    format: "%@: %.2f GB of weights to %.2f GB in %.1f s",
                    converter.model.architecture, Double(result.sourceBytes) / 1e9,
                    Double(result.outputBytes) / 1e9, seconds))
        }
    }

    private func noteFallbacks(_ names: [String]) {
        guard let first = names.first else { return }
        let more = names.count > 1 ? " and \(names.count - 1) more" : ""
        Diagnostics.note("note: rows of \(first)\(more) are no multiple of 32, stored as f16")
    }

    private struct Report: Encodable {
        var schema = 1
        let architecture: String
        let language: String
        let vision: String
        let sourceBytes: Int
        let outputBytes: Int
        let seconds: Double
        let storedAsF16: [String]

        enum CodingKeys: String, CodingKey {
            case schema, architecture, language, vision, seconds
            case sourceBytes = "source_bytes"
            case outputBytes = "output_bytes"
            case storedAsF16 = "stored_as_f16"
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
