import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq fidelity`: what number formats do to a model.
struct FidelityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fidelity",
        abstract: "What int8 and int4 change: any number of models next to a reference.",
        discussion: """
            Runs every model over the same samples as the reference. For each: bits per decoder \
            weight and size; divergence of the next token's probabilities (KL, in nats) and the \
            same most probable token; the share of (neuron, position) pairs of the decoder whose \
            gate has another sign; how far activation probabilities move; and, with two domains or \
            more, how much of each domain's set of neurons is the same (Jaccard), beside the same \
            of two halves of the reference's own samples: a format that changes a set less than \
            another draw of pictures does is good enough for it. Image and text positions apart; \
            layers and domains in the JSON document, which a report shows (report --fidelity). Then \
            every model answers the same questions (--max-tokens), and its scores stand next to the \
            reference's; driving needs --judge for that.
            """)

    @Option(help: "The model folder to compare with (f16).")
    var reference: String

    @Option(help: "A model folder; may be repeated.")
    var model: [String] = []

    @Option(help: "What quantized products round activations to (default: what convert left).")
    var activations: Activations?

    @OptionGroup var threading: ThreadOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var domains: DomainOptions

    @Option(help: "Samples of each domain.")
    var samples = 10

    @Option(
        help: """
            Let every model answer too, greedily, with at most so many tokens: for speed and the \
            change of scores. 0: no answers.
            """)
    var maxTokens = 64

    @OptionGroup var judging: JudgeOptions

    @Flag(help: "Let every row of the vocabulary take part in the lens, filler too.")
    var allRows = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if model.isEmpty { throw ValidationError("Name one model or more: --model DIR.") }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
        if maxTokens < 0 { throw ValidationError("--max-tokens must be 0 or more.") }
    }

    func run() throws {
        try threading.apply()
        let chosen = try domains.chosen() ?? Domain.allCases
        // First: what cannot be opened is not found out behind hours of work.
        let judge = try judging.open(ifNeeded: maxTokens > 0 && chosen.contains(.ad))
        func open(_ folder: String) throws -> (name: String, model: any VisionLanguageModel) {
            (folder, try ModelFiles(folder: folder, activations: activations).open())
        }
        let run = try FidelityRun(
            reference: open(reference), models: model.map(open), bench: bench.bench,
            split: bench.split, samples: samples,
            options: LensOptions(top: 1, hidesFiller: !allRows),
            allowsOutside: outside.allowOutside)
        let interrupt = InterruptFlag.finishing("sample")
        let series = try RunSeries(over: chosen, study: nil, interrupt: interrupt) {
        } run: { _, domain, interrupt in
            try RunDisplay(domain).follow(run.step(domain), interrupt)
        }
        guard series.results.contains(where: { $0 > 0 }) else {
            if series.isInterrupted { throw ExitCode(130) }
            throw InputError.noSamples(toCompareOver: bench.bench)
        }
        if maxTokens > 0, !interrupt.isRaised {
            _ = try RunSeries(over: chosen, study: nil, interrupt: interrupt) {
            } run: { _, domain, interrupt in
                try RunDisplay.answers(domain).follow(
                    run.answers(domain, maxTokens: maxTokens), interrupt)
            }
        }
        let found = try run.result(judge: judge)
        for note in found.notes { Diagnostics.note("note: \(note)") }
        if json {
            try Diagnostics.printJSON(found)
        } else {
            print(Self.text(found))
        }
        if interrupt.isRaised { throw ExitCode(130) }
    }

    /// What is printed of it.
    static func text(_ found: Fidelity) -> String {
        let samples = found.samples.map { "\($0.domain.rawValue) \($0.compared)" }
        let about = "next to \(found.reference), samples: \(samples.joined(separator: ", "))"
        let hasAnswers = found.models.contains { !$0.answers.isEmpty }
        return about + "\n" + table(found) + (hasAnswers ? "\n\n" + answers(found) : "")
    }

    private static func table(_ found: Fidelity) -> String {
        let changes = [
            "image: KL", "same top-1 %", "flipped %", "text: KL", "same top-1 %", "flipped %",
            "|dp|", "greatest", "Jaccard", "halves",
        ]
        let hasSpeed = found.cost.speed != nil
        var table = TextTable(
            ["model", "bits", "MB"] + (hasSpeed ? ["prompt t/s", "answer t/s"] : []) + changes)
        func cost(_ name: String, _ cost: Fidelity.Cost) -> [String] {
            let speeds = [cost.speed?.prompt, cost.speed?.answer].map { TextTable.number($0, 1) }
            return [
                name, TextTable.number(cost.bits, 2), TextTable.number(Double(cost.bytes) / 1e6, 1),
            ] + (hasSpeed ? speeds : [])
        }
        table.add(
            cost(found.reference, found.cost) + Array(repeating: "", count: changes.count))
        for model in found.models {
            let summary = model.summary
            table.add(
                cost(model.name, model.cost)
                    + [summary.image, summary.text].flatMap {
                        [
                            TextTable.number($0.divergence, 4), TextTable.percent($0.agreement),
                            TextTable.percent($0.flipped, 3),
                        ]
                    } + [
                        TextTable.number(summary.meanShift, 5),
                        TextTable.number(summary.greatestShift, 3),
                        TextTable.number(summary.jaccard, 3), TextTable.number(summary.halves, 3),
                    ])
        }
        return table.text
    }

    /// Answers of every model, by domain and rule.
    private static func answers(_ found: Fidelity) -> String {
        var table = TextTable([
            "model", "domain", "samples", "equal %", "form", "score", "reference", "model",
            "change", "95 % interval", "p",
        ])
        for model in found.models {
            for answers in model.answers {
                let about = [
                    model.name, answers.domain.rawValue, String(answers.samples),
                    TextTable.percent(answers.agreement),
                ]
                let scores = model.scores.filter { $0.domain == answers.domain }
                if scores.isEmpty { table.add(about + Array(repeating: "", count: 7)) }
                for score in scores {
                    let change = score.change
                    table.add(
                        about + [
                            score.form.rawValue, score.metric, TextTable.percent(score.first),
                            TextTable.percent(score.second), TextTable.percent(change.difference),
                            TextTable.percent(change.interval.low) + " ... "
                                + TextTable.percent(change.interval.high),
                            TextTable.number(change.p),
                        ])
                }
            }
        }
        return "answers and scores\n" + table.text
    }
}

extension InputError {
    /// Models were to be compared, and no sample of the bench could be taken.
    static func noSamples(toCompareOver bench: String) -> InputError {
        InputError(
            .badInput, file: bench, expected: "samples that the models can take", found: "none")
    }
}
