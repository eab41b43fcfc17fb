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
            layers and domains in the JSON document.
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

    @Flag(help: "Let every row of the vocabulary take part in the lens, filler too.")
    var allRows = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if model.isEmpty { throw ValidationError("Name one model or more: --model DIR.") }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        try threading.apply()
        let chosen = try domains.chosen() ?? Domain.allCases
        func open(_ folder: String) throws -> (name: String, model: any VisionLanguageModel) {
            (folder, try ModelFiles(folder: folder, activations: activations).open())
        }
        let run = try FidelityRun(
            reference: open(reference), models: model.map(open), bench: bench.bench,
            split: bench.split, samples: samples,
            options: LensOptions(top: 1, hidesFiller: !allRows),
            allowsOutside: outside.allowOutside)
        let series = try RunSeries(over: chosen, study: nil) {
        } run: { _, domain, interrupt in
            try RunDisplay(domain).follow(run.step(domain), interrupt)
        }
        guard series.results.contains(where: { $0 > 0 }) else {
            if series.isInterrupted { throw ExitCode(130) }
            throw InputError.noSamples(toCompareOver: bench.bench)
        }
        let found = try run.result()
        if json {
            try Diagnostics.printJSON(found)
        } else {
            let counts = zip(chosen, series.results).map { "\($0.rawValue) \($1)" }
            print("next to \(found.reference), samples: \(counts.joined(separator: ", "))")
            print(Self.table(found))
        }
        if series.isInterrupted { throw ExitCode(130) }
    }

    private static func table(_ found: Fidelity) -> String {
        var table = TextTable([
            "model", "bits", "MB", "image: KL", "same top-1 %", "flipped %", "text: KL",
            "same top-1 %", "flipped %", "|dp|", "Jaccard", "halves",
        ])
        for model in found.models {
            let sums = model.sums
            let mean = { (values: [Double]) in
                values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
            }
            table.add(
                [
                    model.name, TextTable.number(model.bits, 2),
                    TextTable.number(Double(model.bytes) / 1e6, 1),
                ]
                    + [sums.image, sums.text].flatMap {
                        [
                            TextTable.number($0.lens.meanDivergence, 4),
                            TextTable.percent($0.lens.agreement),
                            TextTable.percent($0.pairs.share.map { 1 - $0 }, 3),
                        ]
                    } + [
                        TextTable.number(mean(model.entries.flatMap(\.shifts).map(\.mean)), 5),
                        TextTable.number(mean(model.neurons.compactMap(\.jaccard)), 3),
                        TextTable.number(mean(model.neurons.compactMap(\.halves)), 3),
                    ])
        }
        return table.text
    }
}

extension InputError {
    /// Models were to be compared, and no sample of the bench could be taken.
    static func noSamples(toCompareOver bench: String) -> InputError {
        InputError(
            .badInput, file: bench, expected: "samples that the models can take", found: "none")
    }
}
