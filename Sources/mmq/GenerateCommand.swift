import ArgumentParser
import MMQModels
import MMQStudy

/// `mmq generate`: answers a bench's questions under mask settings.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Answer a bench's questions, with domain-specific neurons on and off.",
        discussion: """
            Every domain is answered under its own neuron sets, which identify has found. \
            \(MaskWords.grammar)

            The control random masks as many neurons in each layer as all, drawn by chance; matched \
            ones that fire about as often; random-<setting> and matched-<setting> are those of \
            another setting. random*20 stands for twenty controls (random#1 to random#20), matrix \
            for no mask and every setting with every domain's neurons, matrix-<setting> for those \
            of one setting.

            Every answer is committed as it comes: a run that was stopped, or killed, goes on with \
            the same command and ends with the same answers. They depend on neither --batch nor \
            the order of the work. Without options an answer is sampled as in the official code: \
            at temperature 0.9 among the 50 best tokens.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var study: StudyOptions
    @OptionGroup var domains: DomainOptions
    @OptionGroup var shards: ShardOptions

    @Option(help: "The bench folder, with ad, med, rs, vqav2 and doc in it.")
    var bench: String

    @OptionGroup var outside: OutsideOptions

    @Option(help: "The split of the data sets.")
    var split: String = "val"

    @Option(
        help: ArgumentHelp(
            "Mask settings, separated by commas (default: all of the model's, and random).",
            valueName: "list"))
    var masks: [String] = []

    @OptionGroup var sets: SetOptions

    @Option(help: "Samples of each domain (the official code takes 1001).")
    var samples: Int = 1000

    @Option(
        help: """
            Answers decoded together. Each keeps its prompt's keys and values in memory: 1.5 GB \
            for 2900 tokens of a 7B model.
            """)
    var batch: Int = 4

    @Flag(help: "Always take the best token.")
    var greedy = false

    @Option(help: "Sample at this temperature (default: 0.9).")
    var temperature: Double?

    @Option(help: "Sample from the K best tokens only; 0 for all (default: 50).")
    var topK: Int?

    @Option(help: "Sample from the fewest best tokens whose probabilities add up to P.")
    var topP: Double?

    @Option(help: "Seed of the samples and of the random control.")
    var seed: UInt64 = 0

    @Option(help: "Most tokens of an answer.")
    var maxTokens: Int = 512

    @Flag(
        help: """
            Throw away answers of the same domains and settings that were made with other options \
            or other neuron sets.
            """)
    var replace = false

    @Flag(help: "Only say what is done, what is left, and how long it takes; one sample is run.")
    var plan = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if greedy, temperature != nil || topK != nil || topP != nil {
            throw ValidationError("--greedy does not go with --temperature, --top-k or --top-p.")
        }
        if let temperature, !(temperature > 0 && temperature.isFinite) {
            throw ValidationError("--temperature must be above 0.")
        }
        if let topK, topK < 0 { throw ValidationError("--top-k must be 0 or more.") }
        if let topP, !(topP > 0 && topP <= 1) {
            throw ValidationError("--top-p must be above 0 and at most 1.")
        }
        if maxTokens < 1 { throw ValidationError("--max-tokens must be 1 or more.") }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
        if !(1...256).contains(batch) { throw ValidationError("--batch must be from 1 to 256.") }
    }

    /// What an answer depends on. Greedy answers do not depend on how the rest is set.
    private var options: AnswerOptions {
        greedy
            ? AnswerOptions(temperature: 0, topK: 0, topP: 1, seed: seed, maxTokens: maxTokens)
            : AnswerOptions(
                temperature: temperature ?? 0.9, topK: topK ?? 50, topP: topP ?? 1, seed: seed,
                maxTokens: maxTokens)
    }

    func run() throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        // The model first: a study is not made for one that cannot be opened.
        let model = try model.open(study: study.study)
        // Before a study is made.
        _ = try settings(of: model, domains: chosen)
        let file = try study.open(plan ? .planning : .writing)
        let settings = GenerationPlan.Settings(
            domains: chosen,
            masks: try settings(of: model, domains: file.setDomains(sets.chosen())), split: split,
            samples: samples, batch: batch, options: options, shard: try shards.chosen(),
            replaces: replace)
        if plan {
            let outlook = try GenerationPlan(
                study: file, model: model, bench: bench, settings: settings,
                allowsOutside: outside.allowOutside
            ).outlook()
            return try json
                ? Diagnostics.printJSON(outlook)
                : print(OutlookText(outlook: outlook, samples: samples).text)
        }
        let series = try RunSeries(over: chosen, study: file, underWay: "answers") {
            try GenerationPlan(
                study: file, model: model, bench: bench, settings: settings,
                allowsOutside: outside.allowOutside)
        } run: { plan, domain, interrupt in
            try RunDisplay.answers(domain).follow(plan.step(domain), interrupt)
        }
        try series.show(json: json, Self.line)
        if series.isInterrupted { throw Diagnostics.interrupted() }
    }

    private func settings(
        of model: any VisionLanguageModel, domains: [Domain]
    ) throws -> [MaskSetting] {
        let usual = MaskSetting.standard(of: model.architecture).map(\.name)
        return try MaskSetting.list(
            masks.isEmpty ? usual.joined(separator: ",") : masks.joined(separator: ","),
            of: model.architecture, domains: domains, set: sets.chosen())
    }

    private static func line(_ result: GenerationPlan.Result) -> String {
        var text = "\(result.domain.rawValue): \(result.samples) samples, "
        text += "\(result.answered) answers (\(result.tokens) tokens)"
        if result.held > 0 { text += ", \(result.held) held before" }
        if result.problems > 0 { text += ", \(result.problems) without an answer" }
        if result.skipped > 0 { text += ", \(result.skipped) without a picture" }
        if result.missingFrames > 0 { text += ", \(result.missingFrames) missing frames" }
        switch result.outcome {
        case .reached: break
        case .exhausted: text += "; the bench has no more"
        case .interrupted: text += "; interrupted"
        }
        return text
    }
}
