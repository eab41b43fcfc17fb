import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq calibrate`: how much each input channel of each weight counts.
struct CalibrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calibrate",
        abstract: "Measure what goes into the language model's weights, for convert --importance.",
        discussion: """
            Runs the model over pictures and prompts and keeps the mean square of every input \
            channel of every product of the decoder: errors in a weight matter as much as what it \
            multiplies is large. The file is an importance matrix in llama.cpp's GGUF form; \
            llama-quantize takes it too. Calibrate with an f16 or q8_0 model, on other samples than \
            those that the study is made of (the train split, say, for a study of val). A run \
            that was stopped, or killed, goes on with the same command and ends with the same file.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var domains: DomainOptions
    @OptionGroup var calibration: CalibrationOptions

    @Option(help: "The importance file to write, or to go on with.")
    var output: String

    @Option(help: "Samples of each domain.")
    var samples = 32

    @Flag(help: "Begin anew, whatever the file holds.")
    var again = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        let model = try model.open()
        let series = try RunSeries(over: chosen, study: nil) {
            try CalibrationPlan(
                model: model, bench: bench.bench, split: bench.split, form: calibration.promptForm,
                samples: samples, imageWeight: calibration.imageWeight, output: output,
                again: again, allowsOutside: outside.allowOutside)
        } run: { plan, domain, interrupt in
            let (outcome, progress) = try RunDisplay(domain).follow(plan.step(domain), interrupt)
            return (outcome, Result(outcome: outcome, progress))
        }
        try series.show(json: json, \.line)
        if series.isInterrupted { throw Diagnostics.interrupted(again: again) }
        // Exit code 0 means that the file is there.
        if series.results.allSatisfy({ $0.samples == 0 }) {
            throw InputError(
                .badInput, file: bench.bench,
                "no sample that the model can take, so \(output) is not written")
        }
    }

    private struct Result: Encodable {
        let outcome: RunOutcome
        let domain: String
        let samples: Int
        let skipped: Int

        init(outcome: RunOutcome, _ progress: ImportanceFile.Progress) {
            self.outcome = outcome
            domain = progress.domain
            samples = progress.samples
            skipped = progress.skipped
        }

        var line: String {
            var text = "\(domain): \(samples) samples"
            if skipped > 0 {
                text += ", \(skipped) left out (no picture, or the model cannot take it)"
            }
            switch outcome {
            case .reached: break
            case .exhausted: text += "; the bench has no more"
            case .interrupted: text += "; interrupted"
            }
            return text
        }
    }
}
