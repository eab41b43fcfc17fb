import ArgumentParser
import MMQModels

/// Which model, and on how many threads.
struct ModelOptions: ParsableArguments {
    @Option(help: "A model folder, as convert makes it.")
    var model: String?

    @Option(help: "The language model's GGUF file, in place of --model.")
    var language: String?

    @Option(help: "The vision part's GGUF file, in place of --model.")
    var vision: String?

    @Option(help: "Threads to compute with (default: physical cores).")
    var threads: Int?

    /// Whether a model was named at all.
    var isGiven: Bool { model != nil || language != nil || vision != nil }

    func validate() throws {
        if model != nil, language != nil || vision != nil {
            throw ValidationError("Give either --model or --language and --vision.")
        }
        if (language == nil) != (vision == nil) {
            throw ValidationError("--language and --vision go together.")
        }
        if let threads, threads < 1 {
            throw ValidationError("--threads must be 1 or more.")
        }
    }

    /// Opens the model for counting.
    func countingModel() throws -> any CountingModel {
        guard isGiven else {
            throw ValidationError("Name a model: --model DIR, or --language FILE --vision FILE.")
        }
        throw ValidationError("No model architecture is built in yet.")
    }
}
