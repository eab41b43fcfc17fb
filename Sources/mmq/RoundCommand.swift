import ArgumentParser
import Foundation
import MMQModels
import MMQStudy

/// `mmq round`: a model's weights to four bits so that their errors make up for each other.
struct RoundCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "round",
        abstract: "Round a model's weights by second order (GPTQ), over pictures and prompts.",
        discussion: """
            Takes an f16 (or f32, bf16) model as convert makes it and makes a folder of the same \
            kind, plain GGUF. Each weight is rounded so that its errors make up for each other over \
            what goes into its product, layer by layer, in the model as rounded so far, and makes up \
            for half of what rounding has changed before it (--correction). That goes \
            for iq4_nl, q4_0, q5_0 and q8_0; parts of other types are weighed by the importance of \
            each input. Use other samples than those that the study is made of: another split, or \
            those behind the study's (--leave-out), and the --activations that the model will run \
            with: it is opened with them from then on. All prompts stay in memory, 12 bytes for each \
            position and channel of the hidden state (8 with --correction 0). A run that was stopped, or killed, goes on \
            with the same command, does at most one layer anew and ends with the same files.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var domains: DomainOptions
    @OptionGroup var calibration: CalibrationOptions

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "The weights' type, or a recipe, as convert takes them.")
    var type: WeightTypes = WeightTypes(.iq4_nl)

    @Option(
        help: """
            Parts of the decoder in other types, gate=q8_0,down=q8_0 for example; may be repeated.
            """)
    var keep: [String] = []

    @Option(help: "Samples of each domain.")
    var samples = 16

    @Option(
        help: """
            Leave out so many of each domain's first samples (those with a picture): the ones that a \
            study of the same split takes.
            """)
    var leaveOut = 0

    @Option(
        help: """
            What part of its own the second moment of each input grows by: the more, the less is \
            made of how inputs hang together.
            """)
    var damping = 1.0

    @Option(
        help: """
            What part is made up for of the change that rounding has made to what goes into a product \
            and to what its outputs are added to, 0 to 1.
            """)
    var correction: Float = 0.5

    @Option(
        help: """
            How often all levels, and the first time scales, are gone over again, one at a time, once \
            they are rounded; none of them changes unless that leaves less.
            """)
    var refinements = 2

    @Flag(help: "Replace files of the same name, and what a run with other options left.")
    var force = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
        if leaveOut < 0 { throw ValidationError("--leave-out must be 0 or more.") }
        guard damping >= 0, damping.isFinite else {
            throw ValidationError("--damping must be 0 or more.")
        }
        guard (0...1).contains(correction) else {
            throw ValidationError("--correction must be from 0 to 1.")
        }
        guard (0...100).contains(refinements) else {
            throw ValidationError("--refinements must be from 0 to 100.")
        }
    }

    func run() throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        let types = type.keeping(try WeightRule.list(keep))
        let plan = try RoundingPlan(
            model: model.open(), bench: bench.bench, domains: chosen, split: bench.split,
            form: calibration.promptForm, samples: samples, leavingOut: leaveOut, output: output,
            options: .init(
                types: types, imageWeight: calibration.imageWeight, damping: damping,
                correction: correction, refinements: refinements, replace: force),
            allowsOutside: outside.allowOutside)
        let interrupt = InterruptFlag(
            note: "Finishing the layer under way; Ctrl-C again stops at once.")
        do {
            let taken = try plan.collect(interrupted: { interrupt.isRaised }) {
                RunDisplay($0).note($1)
            }
            try round(plan.rounding, taken, interrupt)
        } catch is CancellationError {
            throw Diagnostics.interrupted()
        }
    }

    private func round(
        _ rounding: WeightRounding, _ taken: [RoundingPlan.Samples], _ interrupt: InterruptFlag
    ) throws {
        let layers = rounding.layers
        let seconds = try rounding.secondsALayer() * Double(layers)
        Diagnostics.note(
            String(
                format: "%d positions, %d layers: about %@, at most %.1f GB of memory beside the "
                    + "model's file", rounding.positions, layers, OutlookText.time(seconds),
                Double(rounding.memory) / 1e9))
        let report = ProgressReport("rounding")
        defer { report.clear() }
        let clock = ContinuousClock(), start = clock.now
        let files = try rounding.run { done in
            report.update(Double(done) / Double(layers), done: done, unit: "layers")
            if interrupt.isRaised, done < layers { throw CancellationError() }
        }
        report.clear()
        ModelFiles.noteOthers(in: output)
        let result = Report(
            files: files, samples: taken, positions: rounding.positions,
            seconds: clock.seconds(since: start))
        if json { return try Diagnostics.printJSON(result) }
        print(files.joined(separator: "\n"))
        Diagnostics.note(
            String(
                format: "%d positions of %d samples, %.1f s", result.positions,
                taken.reduce(0) { $0 + $1.samples }, result.seconds))
    }

    private struct Report: Encodable {
        var schema = 1
        let files: [String]
        let samples: [RoundingPlan.Samples]
        let positions: Int
        let seconds: Double
    }
}
