import ArgumentParser
import MMQModels
import MMQStudy

/// `mmq activation`: counts activations over a bench into a study.
struct ActivationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activation",
        abstract: "Count which neurons fire, one forward pass per sample.",
        discussion: """
            Every commit holds the counts and the place in the bench up to which they reach: a run \
            that was stopped, or killed, goes on with the same command and ends with the same \
            numbers. Samples whose picture is not there, or that the model cannot take, are left \
            out, and their number is told. A later run counts pictures that have come in the \
            meantime before it goes on, as long as the goal is not reached without them (then, and \
            with --shard, --again counts from the beginning). So do logit-lens and deviation.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var study: StudyOptions
    @OptionGroup var domains: DomainOptions
    @OptionGroup var shards: ShardOptions

    @Option(help: "Stop a domain when the vision module has seen so many tokens (default: 100000).")
    var visionTokens: Int64?

    @Option(help: "Stop a domain after so many samples, in place of --vision-tokens.")
    var samples: Int?

    @Option(
        help: """
            Into how many blocks of samples the counts are kept apart, 2 to 256 (default: \
            \(CountingPlan.usualBlocks)): stability draws blocks.
            """)
    var blocks: Int?

    @Flag(
        inversion: .prefixedNo,
        help:
            "Count the picture's positions and the text's apart, which add up to the whole (default)."
    )
    var positions: Bool?

    @Option(
        help: """
            How many of each neuron's strongest activations are kept, with the sample and the token \
            where they were, and with a histogram of all: 0 (neither) to \
            \(PassState.keepRange.upperBound) (default: \(CountingPlan.usualKeepTop)).
            """)
    var keepTop: Int?

    @Flag(help: "Drop what an earlier run counted over these domains.")
    var again = false

    @Flag(help: "Only say what is done, what is left, and how long it takes; one sample is run.")
    var plan = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if visionTokens != nil, samples != nil {
            throw ValidationError("Give either --vision-tokens or --samples.")
        }
        if let visionTokens, visionTokens < 1 {
            throw ValidationError("--vision-tokens must be 1 or more.")
        }
        if plan, again { throw ValidationError("--plan does not go with --again.") }
        if let blocks, !PassState.blockRange.contains(blocks) {
            throw ValidationError(
                "--blocks must be from \(PassState.blockRange.lowerBound) to "
                    + "\(PassState.blockRange.upperBound).")
        }
        if let keepTop, !PassState.keepRange.contains(keepTop) {
            throw ValidationError("--keep-top must be from 0 to \(PassState.keepRange.upperBound).")
        }
        if let samples, samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        let goal: CountingPlan.Goal =
            samples.map { .samples($0) } ?? .visionTokens(visionTokens ?? 100_000)
        let chosen = try domains.chosen() ?? Domain.allCases
        // The model first: a study is not made for one that cannot be opened.
        let model = try model.open(study: study.study)
        let file = try study.open(plan ? .planning : .writing)
        func counting() throws -> CountingPlan {
            try CountingPlan(
                study: file, model: model, bench: bench.bench, split: bench.split, goal: goal,
                again: again, allowsOutside: outside.allowOutside, blocks: blocks,
                apart: positions, keepTop: keepTop, shard: shards.chosen())
        }
        if plan {
            let outlook = try counting().outlook(chosen)
            return try json
                ? Diagnostics.printJSON(outlook)
                : print(OutlookText(outlook: outlook, samples: samples).text)
        }
        let series = try RunSeries(over: chosen, study: file, plan: counting) {
            plan, domain, interrupt in
            let (outcome, state) = try RunDisplay(domain).follow(plan.step(domain), interrupt)
            return (
                outcome, Result(outcome: outcome, pass: state, shard: try file.shard(of: state))
            )
        }
        try series.show(json: json, \.line)
        if series.isInterrupted { throw Diagnostics.interrupted(again: again) }
    }

    private struct Result: Encodable {
        let outcome: RunOutcome
        let pass: PassState
        let shard: ShardProgress?

        var line: String {
            var text =
                "\(pass.domain.rawValue): \(pass.samples) samples, \(pass.visionTokens) vision tokens"
            if pass.skipped > 0 {
                text += ", \(pass.skipped) left out (no picture, or the model cannot take it)"
            }
            if pass.missingFrames > 0 { text += ", \(pass.missingFrames) missing frames" }
            switch outcome {
            case .reached: break
            case .exhausted: text += "; the bench ended before the goal"
            case .interrupted: text += "; interrupted"
            }
            if let shard {
                text += "; \(shard.done) of them in shard \(shard.part)/\(shard.parts)"
            }
            return text
        }
    }
}
