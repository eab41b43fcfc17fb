import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq compare`: two studies, or two models.
struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "What differs between two studies, or two models, over the same samples.",
        discussion: """
            --study A --study B: activation probabilities, neuron sets, lens, answers and scores that both \
            studies hold. --model A --model B --bench DIR: runs both models over the same samples; \
            which (neuron, token) pairs fire alike, and the divergence of each layer's lens.
            """)

    @Option(help: "A study file; give two, the reference first.")
    var study: [String] = []

    @Option(help: "A model folder; give two, the reference first.")
    var model: [String] = []

    @OptionGroup var threading: ThreadOptions

    @Option(help: "The bench folder (two models).")
    var bench: String?

    @OptionGroup var outside: OutsideOptions

    @Option(help: "The split of the data sets.")
    var split: String = "train"

    @OptionGroup var domains: DomainOptions

    @OptionGroup var sets: SetOptions

    @Option(help: "Samples of each domain (two models).")
    var samples = 10

    @Option(help: "What both models' quantized products round activations to (two models).")
    var activations: Activations?

    @OptionGroup var judging: JudgeOptions

    @Flag(help: "Let every row of the vocabulary take part in the lens, filler too (two models).")
    var allRows = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard (study.count == 2) != (model.count == 2), study.isEmpty || model.isEmpty else {
            throw ValidationError("Give --study twice or --model twice.")
        }
        guard model.isEmpty == (bench == nil) else {
            throw ValidationError("--bench goes with two models.")
        }
        guard sets.set == nil || model.isEmpty else {
            throw ValidationError("--set goes with two studies.")
        }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        if let bench {
            try compareModels(bench)
        } else {
            try compareStudies()
        }
    }

    // MARK: - Studies

    private func compareStudies() throws {
        let files = try study.map { try Study(path: $0, access: .reading) }
        let needsJudge = try files[0].answerSets().contains { $0.domain == .ad }
        let found = try StudyComparison(
            files[0], files[1], split: split, set: sets.chosen(),
            judge: judging.open(ifNeeded: needsJudge))
        if json { return try Diagnostics.printJSON(found) }
        for note in found.notes { Diagnostics.note("note: \(note)") }
        var tables: [String] = []
        if !found.activation.isEmpty { tables.append(Self.activation(found.activation)) }
        if !found.neurons.isEmpty { tables.append(Self.neurons(found.neurons)) }
        if !found.lens.isEmpty { tables.append(Self.lens(found.lens)) }
        if !found.answers.isEmpty { tables.append(Self.answers(found.answers)) }
        if !found.scores.isEmpty { tables.append(Self.scores(found.scores)) }
        print(tables.joined(separator: "\n\n"))
    }

    /// Over all domains; single domains are in the JSON document.
    private static func activation(_ entries: [StudyComparison.Activation]) -> String {
        var table = TextTable(["module", "layer", "mean change", "greatest"])
        var modules: [String] = []
        for entry in entries where !modules.contains(entry.module) { modules.append(entry.module) }
        for module in modules {
            let some = entries.filter { $0.module == module }
            for layer in Set(some.map(\.layer)).sorted() {
                let rows = some.filter { $0.layer == layer }
                let mean = rows.reduce(0) { $0 + $1.meanChange } / Double(rows.count)
                table.add([
                    module, String(layer), TextTable.number(mean, 6),
                    TextTable.number(rows.map(\.greatestChange).max(), 6),
                ])
            }
        }
        return "activation probability\n" + table.text
    }

    private static func neurons(_ entries: [StudyComparison.NeuronSets]) -> String {
        var table = TextTable(["module", "domain", "first", "second", "common", "Jaccard"])
        for entry in entries {
            table.add([
                entry.module, entry.domain.rawValue, String(entry.first), String(entry.second),
                String(entry.common), TextTable.number(entry.jaccard),
            ])
        }
        return "neuron sets\n" + table.text
    }

    private static func lens(_ entries: [StudyComparison.Lens]) -> String {
        var table = TextTable([
            "domain", "masks", "layer", "samples", "same top-1 %, image", "text", "entropy change",
            "KL change",
        ])
        for entry in entries {
            table.add([
                entry.domain.rawValue, entry.setting, String(entry.layer), String(entry.samples),
                TextTable.percent(entry.imageAgreement), TextTable.percent(entry.textAgreement),
                TextTable.number(entry.entropyChange), TextTable.number(entry.divergenceChange),
            ])
        }
        return "lens\n" + table.text
    }

    private static func answers(_ entries: [StudyComparison.Answers]) -> String {
        var table = TextTable(["domain", "split", "masks", "samples", "equal %", "95 % interval"])
        for entry in entries {
            table.add([
                entry.domain.rawValue, entry.split, entry.setting, String(entry.samples),
                TextTable.percent(entry.agreement),
                TextTable.percent(entry.interval.low) + " ... "
                    + TextTable.percent(entry.interval.high),
            ])
        }
        return "answers\n" + table.text
    }

    private static func scores(_ entries: [StudyComparison.ScoreChange]) -> String {
        var table = TextTable([
            "domain", "split", "masks", "form", "score", "samples", "first", "second", "change",
            "95 % interval", "p",
        ])
        for entry in entries {
            let change = entry.change
            table.add([
                entry.domain.rawValue, entry.split, entry.setting, entry.form.rawValue,
                entry.metric, String(change.pairs), TextTable.percent(entry.first),
                TextTable.percent(entry.second), TextTable.percent(change.difference),
                TextTable.percent(change.interval.low) + " ... "
                    + TextTable.percent(change.interval.high), TextTable.number(change.p),
            ])
        }
        return "scores\n" + table.text
    }

    // MARK: - Models

    private struct Document: Encodable {
        let domain: Domain
        let comparison: ModelComparison
    }

    private func compareModels(_ bench: String) throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        try threading.apply()
        let models = try model.map {
            try ModelFiles(folder: $0, activations: activations).open()
        }
        let options = LensOptions(top: 1, hidesFiller: !allRows)
        let series = try RunSeries(over: chosen, study: nil) {
        } run: { _, domain, interrupt in
            let (outcome, comparison) = try RunDisplay(domain).follow(
                ModelComparison.step(
                    models[0], models[1], bench: bench, domain: domain, split: split,
                    samples: samples, options: options,
                    allowsOutside: outside.allowOutside), interrupt)
            return (outcome, Document(domain: domain, comparison: comparison))
        }
        if !series.isInterrupted, series.results.allSatisfy({ $0.comparison.samples == 0 }) {
            throw InputError.noSamples(toCompareOver: bench)
        }
        try series.show(json: json, separator: "\n\n", Self.table)
        if series.isInterrupted { throw ExitCode(130) }
    }

    private static func table(_ document: Document) -> String {
        let found = document.comparison
        var firing = TextTable(["module", "layer", "pairs", "alike %", "image", "text"])
        for entry in found.firing {
            firing.add(
                [entry.module, String(entry.layer), String(entry.pairs)]
                    + [entry.share, entry.image?.share, entry.text?.share].map {
                        $0.map { TextTable.percent($0, 4) } ?? ""
                    })
        }
        var lens = TextTable([
            "layer", "image: same top-1 %", "KL", "text: same top-1 %", "KL",
        ])
        for (layer, entry) in found.lens.enumerated() {
            lens.add(
                [String(layer)]
                    + [entry.image, entry.text].flatMap {
                        [
                            TextTable.percent($0.agreement),
                            TextTable.number($0.meanDivergence, 6),
                        ]
                    })
        }
        return """
            \(document.domain.rawValue): \(found.samples) samples
            \(firing.text)

            \(lens.text)
            """
    }
}
