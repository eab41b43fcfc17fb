import ArgumentParser
import MMQModels
import MMQStudy

/// `mmq deviation`: how far each domain's mask moves the hidden states.
struct DeviationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deviation",
        abstract: "How far masks move the decoder's hidden states, layer by layer.",
        discussion: """
            Every sample runs once with no mask and once with each domain's neurons off; each layer's \
            output is compared, row by row: cosine, and |difference| / |row without the mask|. Every \
            sample is committed: a run that was stopped, or killed, goes on with the same command.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var shards: ShardOptions
    @OptionGroup var study: StudyOptions
    @OptionGroup var domains: DomainOptions

    @Option(help: "Samples of each domain.")
    var samples = 20

    @Option(
        help: ArgumentHelp(
            "Mask settings, separated by commas, as generate has them (default: the decoder's).",
            valueName: "list"))
    var masks: String?

    @OptionGroup var sets: SetOptions

    @Flag(help: "Drop what an earlier run measured and start over.")
    var again = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    private struct Document: Encodable {
        let pass: LensPass
        let masks: [DeviationSummary]
    }

    func run() throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        let model = try model.open(study: study.study)
        let file = try study.open(.updating)
        let settings = try MaskSetting.list(
            masks ?? model.architecture.decoderMask, of: model.architecture,
            domains: file.setDomains(sets.chosen()), set: sets.chosen())
        let series = try RunSeries(over: chosen, settings: settings, study: file) {
            try DeviationPlan(
                study: file, model: model, bench: bench.bench, split: bench.split,
                samples: samples, again: again,
                allowsOutside: outside.allowOutside, shard: shards.chosen())
        } run: { plan, item, interrupt in
            let (outcome, pass) = try RunDisplay(item.domain, setting: item.setting.name)
                .follow(plan.step(item.domain, item.setting), interrupt)
            return (outcome, Document(pass: pass, masks: try file.deviationSummaries(pass)))
        }
        try series.show(json: json, separator: "\n\n", Self.table)
        if series.isInterrupted { throw Diagnostics.interrupted(again: again) }
    }

    private static func table(_ document: Document) -> String {
        let layers = document.masks.first?.layers.count ?? 0
        let masks = document.masks.map(\.mask.rawValue)
        var table = TextTable(
            ["layer"] + masks.flatMap { ["\($0): image cos", "dist", "text cos", "dist"] })
        for layer in 0..<layers {
            table.add(
                [String(layer)]
                    + document.masks.flatMap { entry -> [String] in
                        let row = entry.layers[layer]
                        return [
                            row.imageCosine, row.imageDistance, row.textCosine, row.textDistance,
                        ].map { TextTable.number($0) }
                    })
        }
        return """
            samples of \(document.pass.domain.rawValue), masks \(document.pass.setting): \
            \(document.pass.samples) samples\(document.pass.leftOut)
            \(table.text)
            """
    }
}
