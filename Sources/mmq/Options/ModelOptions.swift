import ArgumentParser
import CSIMD
import MMQModels

/// Which model, and on how many threads.
struct ModelOptions: ParsableArguments {
    @Option(help: "A model folder, as convert makes it.")
    var model: String?

    @Option(help: "The language model's GGUF file, in place of --model.")
    var language: String?

    @Option(help: "The vision part's GGUF file, in place of --model.")
    var vision: String?

    @OptionGroup var threading: ThreadOptions

    func validate() throws {
        if model != nil, language != nil || vision != nil {
            throw ValidationError("Give either --model or --language and --vision.")
        }
        if (language == nil) != (vision == nil) {
            throw ValidationError("--language and --vision go together.")
        }
    }

    /// Whether a model was named at all.
    var isGiven: Bool { model != nil || language != nil }

    /// Opens the files, checked against the tensor table.
    func files() throws -> ModelFiles {
        if let language, let vision { return try ModelFiles(language: language, vision: vision) }
        guard let model else {
            throw ValidationError("Name a model: --model DIR, or --language FILE --vision FILE.")
        }
        return try ModelFiles(folder: model)
    }

    /// Opens the model and sets the kernels' threads.
    func open() throws -> any VisionLanguageModel {
        try threading.apply()
        return try files().open()
    }
}

/// How many threads the kernels use.
struct ThreadOptions: ParsableArguments {
    @Option(help: "Threads to compute with (default: physical cores).")
    var threads: Int?

    func validate() throws {
        if let threads, !(1...256).contains(threads) {
            throw ValidationError("--threads must be from 1 to 256.")
        }
        if let problem = csimd_isa_error() {
            throw ValidationError(String(cString: problem) + ".")
        }
    }

    /// Sets them. Says so if this build has none.
    func apply() throws {
        if let threads { csimd_set_threads(Int32(threads)) }
        if !csimd_has_threads(), threads != 1 {
            Diagnostics.note("This mmq was built without OpenMP: it computes on one thread.")
        }
    }
}
