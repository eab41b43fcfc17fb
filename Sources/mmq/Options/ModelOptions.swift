import ArgumentParser
import CSIMD
import Foundation
import MMQBase
import MMQImage
import MMQModels
import MMQStudy

extension Activations: ExpressibleByArgument {}
extension Compatibility: ExpressibleByArgument {}

/// Which model, and on how many threads.
struct ModelOptions: ParsableArguments {
    @Option(help: "A model folder, as convert makes it.")
    var model: String?

    @Option(help: "The language model's GGUF file, in place of --model.")
    var language: String?

    @Option(help: "The vision part's GGUF file, in place of --model.")
    var vision: String?

    @Option(
        help: """
            What quantized products round activations to: int8, or int16, closer to the original \
            and slower on prompts (default: what the study was begun with, else what convert \
            left, else int8).
            """)
    var activations: Activations?

    @Option(
        help: """
            Take pictures and prompts as transformers 4.41 with Pillow 12 did (June 2024), slips \
            included, for numbers that were made with it: 4.41 (default: what the study was begun \
            with, else 5).
            """)
    var compat: Compatibility?

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

    /// Opens the files, checked against the tensor table, for going on with a study if there is one
    /// of that name.
    func files(study: String? = nil) throws -> ModelFiles {
        let begun = try Self.fingerprint(in: study)
        let activations = activations ?? begun.map(Activations.init(fingerprint:))
        let compatibility = compat ?? begun.map(Compatibility.init(fingerprint:)) ?? .current
        if let language, let vision {
            return try ModelFiles(
                language: language, vision: vision, activations: activations,
                compatibility: compatibility)
        }
        guard let model else {
            throw ValidationError("Name a model: --model DIR, or --language FILE --vision FILE.")
        }
        return try ModelFiles(
            folder: model, activations: activations, compatibility: compatibility)
    }

    /// A study's model and what it was opened with; nil if there is no study or it has no model yet.
    private static func fingerprint(in study: String?) throws -> String? {
        // A process that was killed while it made the file leaves an empty one.
        guard let study, let file = try? InputFile(path: study), file.count > 0 else { return nil }
        return try Study(path: study, access: .glancing).model()
    }

    /// Opens the model and sets the kernels' threads.
    ///
    /// - Parameter study: the study file that is gone on with: what it was begun with is the default.
    func open(study: String? = nil) throws -> any VisionLanguageModel {
        try threading.apply()
        return try files(study: study).open()
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

extension ModelFiles {
    /// Says so if a folder that a model was put into holds another one's files too: it cannot be opened
    /// by its name.
    static func noteOthers(in folder: String) {
        for role in [ModelFileRole.language, .vision] {
            guard let names = try? names(role, in: folder), names.count > 1 else { continue }
            Diagnostics.note(
                "note: \(folder) holds \(names.joined(separator: " and ")); name the files with "
                    + "--language and --vision, or remove one")
        }
    }
}
