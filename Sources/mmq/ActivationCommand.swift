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
            out and counted; when they are put right, --again counts from the beginning.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var study: StudyOptions
    @OptionGroup var domains: DomainOptions

    @Option(help: "Stop a domain when the vision module has seen so many tokens (default: 100000).")
    var visionTokens: Int64?

    @Option(help: "Stop a domain after so many samples, in place of --vision-tokens.")
    var samples: Int?

    @Flag(help: "Drop what an earlier run counted over these domains.")
    var again = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if visionTokens != nil, samples != nil {
            throw ValidationError("Give either --vision-tokens or --samples.")
        }
        if let visionTokens, visionTokens < 1 {
            throw ValidationError("--vision-tokens must be 1 or more.")
        }
        if let samples, samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        let goal: ActivationRun.Goal =
            samples.map { .samples($0) } ?? .visionTokens(visionTokens ?? 100_000)
        let chosen = try domains.chosen() ?? Domain.allCases
        // The model first: a study is not made for one that cannot be opened.
        let model = try model.open()
        let file = try study.open(.writing)
        let interrupt = InterruptFlag(
            note: "Finishing the sample under way; Ctrl-C again stops at once.")
        var results: [Result] = []
        do {
            let run = try ActivationRun(
                study: file, model: model, bench: bench.bench, split: bench.split, goal: goal,
                again: again)
            for domain in chosen {
                let result = try count(domain, run, interrupt)
                results.append(result)
                if result.outcome == .interrupted { break }
            }
        } catch {
            file.discardIfNewAndEmpty()
            throw error
        }
        if json {
            try Diagnostics.printJSON(results)
        } else {
            for result in results { print(result.line) }
        }
        if results.contains(where: { $0.outcome == .interrupted }) {
            throw Diagnostics.interrupted(again: again)
        }
    }

    private func count(
        _ domain: Domain, _ run: ActivationRun, _ interrupt: InterruptFlag
    ) throws -> Result {
        let report = ProgressReport("\(domain.rawValue) \(domain.dataSet)")
        defer { report.clear() }
        var done = 0
        let (outcome, state) = try run.run(
            domain, interrupted: { interrupt.isRaised },
            missing: { files in
                report.clear()
                Diagnostics.note("missing picture: \(files.joined(separator: " or "))")
            },
            unusable: { position, reason in
                report.clear()
                Diagnostics.note("\(domain.rawValue) sample \(position) left out: \(reason)")
            },
            progress: {
                done += 1
                report.update(
                    $0.fraction, from: $0.startFraction, done: done, unit: "samples")
            })
        return Result(outcome: outcome, pass: state)
    }

    private struct Result: Encodable {
        let outcome: ActivationRun.Outcome
        let pass: PassState

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
            return text
        }
    }
}
