import ArgumentParser
import Foundation
import MMQBase
import MMQFormats
import MMQModels
import MMQReport
import MMQStudy

/// `mmq report`: a study as one HTML file.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Show a study as one self-contained HTML file.",
        discussion: """
            Neurons by layer and domain, their overlap and entropies, whether other pictures would \
            find them, scores under masks with intervals and tests, neurons and scores against a \
            rate (identify --sweep), the lens by layer, deviations, other studies over the same samples \
            (--compare), and how to redo it all. With --model and --bench also neurons one by one: the \
            patches and words that make each fire, and the words that it writes. A part that the study does not hold says which \
            command fills it. Nothing is measured anew, except single pictures: \
            with --model, --image and --prompt the page shows what every layer would say at every \
            patch of the picture and every token; --lens takes what mmq logit-lens --output wrote.
            """)

    @OptionGroup var model: ModelOptions

    @OptionGroup var study: StudyOptions

    @Option(help: "The HTML file to write.")
    var output: String

    @Option(
        help: ArgumentHelp(
            "Another study over the same samples to compare this one with; may be repeated.",
            valueName: "study"))
    var compare: [String] = []

    @Option(
        help: ArgumentHelp(
            "What mmq fidelity --json printed: number formats next to a reference; may be repeated.",
            valueName: "json"))
    var fidelity: [String] = []

    @Option(
        help: ArgumentHelp(
            "What mmq compare --model A --model B --json printed: neurons that fire alike and the "
                + "lens's divergence; may be repeated.", valueName: "json"))
    var compareModels: [String] = []

    @OptionGroup var judging: JudgeOptions

    @Option(help: "A lens over one picture, as mmq logit-lens --output writes it; may be repeated.")
    var lens: [String] = []

    @Option(help: "A picture to look into, JPEG or PNG (with --model); may be repeated.")
    var image: [String] = []

    @Option(
        help: """
            The prompt, as it goes to the tokenizer: one for all pictures, or one for each in the \
            same order.
            """)
    var prompt: [String] = []

    @Option(help: "Tokens kept per layer and position of a picture.")
    var top = 5

    @Option(
        help: ArgumentHelp(
            "Greatest size of one picture's lens in MB; tokens, then layers, are left out to stay "
                + "within.", valueName: "mb"))
    var lensSize = 4.0

    @Option(help: "The bench folder that was counted, for the pictures of the gallery of neurons.")
    var bench: String?

    @OptionGroup var outside: OutsideOptions

    @Option(
        help: ArgumentHelp(
            "Greatest size of the gallery of neurons in MB; neurons are left out to stay within, 0 "
                + "leaves it out.", valueName: "mb"))
    var gallerySize = Double(ReportGallery.defaultLimit) / 1_048_576

    @Option(help: "The headline (default: the study's file name).")
    var title: String?

    @Option(help: "The split of counts and lens.")
    var split: String = "train"

    @OptionGroup var sets: SetOptions

    @Option(help: "The split of the answers.")
    var answerSplit: String = "val"

    @Option(help: "Whose rules: official, mmneuron or both.")
    var metric: EvaluateCommand.Form = .both

    @Option(help: "The setting that the others are compared with.")
    var baseline: String = "none"

    @Option(help: "Bootstrap samples, and random sign flips.")
    var draws: Int = 10_000

    @Option(help: "The seed of both.")
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON document with everything that the page shows.")
    var json = false

    func validate() throws {
        guard image.isEmpty || model.isGiven else {
            throw ValidationError("--image goes with --model.")
        }
        guard prompt.count == image.count || (prompt.count == 1 && !image.isEmpty) else {
            throw ValidationError(
                image.isEmpty
                    ? "--prompt goes with --image."
                    : "Give one --prompt for all pictures, or one for each.")
        }
        guard (1...100).contains(top) else {
            throw ValidationError("--top is between 1 and 100.")
        }
        guard (0.01...1000).contains(lensSize) else {
            throw ValidationError("--lens-size is between 0.01 and 1000.")
        }
        guard (0...1000).contains(gallerySize) else {
            throw ValidationError("--gallery-size is between 0 and 1000.")
        }
        guard (100...1_000_000).contains(draws) else {
            throw ValidationError("--draws is between 100 and 1000000.")
        }
    }

    func run() throws {
        let file = try study.open(.reading)
        let others = try compare.map { try Study(path: $0, access: .reading) }
        let formats = try fidelity.map { try FormatFidelity(file: $0) }
        let models = try compareModels.map { try ModelFidelity(file: $0) }
        let needsJudge = try file.answerSets().contains { $0.domain == .ad }
        let judge = try judging.open(ifNeeded: needsJudge)
        let limit = Int(lensSize * 1_048_576)
        var pictures = try lens.map { try PictureLens(file: $0, top: top, limit: limit) }
        var facts: ReportFacts.Model?
        var gallery = GallerySources(
            bench: bench, allowsOutside: outside.allowOutside, limit: Int(gallerySize * 1_048_576))
        if model.isGiven {
            let model = try model.open(study: study.study)
            let own = try file.model()
            if let own, own != model.fingerprint, others.isEmpty {
                Diagnostics.note(
                    "note: the study was made with another model (\(own)), not with "
                        + "\(model.fingerprint)")
            }
            if model.modules == (try file.modules()) { gallery.model = model }
            facts = own == nil || own == model.fingerprint ? ReportFacts.Model(model) : nil
            pictures = try looked(model, limit: limit) + pictures
        }
        let document = try ReportDocument(
            file, others: others, formats: formats, models: models, pictures: pictures,
            model: facts, judge: judge,
            gallery: gallery,
            options: ReportOptions(
                title: title, split: split, set: sets.chosen(), answerSplit: answerSplit,
                forms: metric.forms,
                baseline: baseline, resampling: Resampling(draws: draws, seed: seed)))
        for problem in document.gallery?.problems ?? [] {
            Diagnostics.note("note: gallery: \(problem)")
        }
        let page = ReportPage(document, commands: RedoCommands.words(for: document))
        try OutputFile.write(page.html(), to: output)
        if json {
            try Diagnostics.printJSON(document)
        } else {
            print(output)
        }
    }

    private func looked(
        _ model: any VisionLanguageModel, limit: Int
    ) throws -> [PictureLens] {
        let progress = ProgressReport("lens")
        defer { progress.clear() }
        return try image.enumerated().map { number, path in
            progress.update(
                Double(number) / Double(image.count), done: number, unit: "pictures")
            return try PictureLens(
                path: path, prompt: prompt.count == 1 ? prompt[0] : prompt[number], model: model,
                options: LensOptions(top: top), limit: limit)
        }
    }
}
