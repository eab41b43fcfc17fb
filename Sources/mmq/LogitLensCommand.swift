import ArgumentParser
import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import MMQStudy

/// `mmq logit-lens`: what each decoder layer would say.
struct LogitLensCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logit-lens",
        abstract: "What each decoder layer would say: head(norm(block output)).",
        discussion: """
            For one picture (--image, --prompt): every layer and position, the most probable tokens \
            with their probabilities, the entropy, and the divergence from the last layer. Over a \
            bench (--bench, --study): means per layer over image and text positions, kept in the \
            study; a run that was stopped, or killed, goes on with the same command.

            Rows of the vocabulary that no word leads to (<image>, padding, filler) are left out of \
            the distributions unless --all-rows is given.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "The picture, JPEG or PNG.")
    var image: String?

    @Option(help: "The prompt, as it goes to the tokenizer.")
    var prompt: String?

    @OptionGroup var masking: MaskOptions

    @Option(help: "How many tokens to keep per layer and position (one picture).")
    var top = 10

    @Option(help: "The position shown in the table, from 0 (default: the last one).")
    var position: Int?

    @Option(help: "Write every layer and position to a JSON file (one picture).")
    var output: String?

    @Option(
        help: """
            What of each layer to read: block (its output), attention or mlp (what that part alone \
            adds; one picture).
            """)
    var part: LayerPart = .block

    @Flag(help: "Let every row of the vocabulary take part, filler too.")
    var allRows = false

    @Option(help: "The bench folder, with ad, med, rs, vqav2 and doc in it.")
    var bench: String?

    @OptionGroup var outside: OutsideOptions
    @OptionGroup var shards: ShardOptions

    @Option(help: "The study file (SQLite).")
    var study: String?

    @Option(help: "The split of the data sets.")
    var split: String = "train"

    @OptionGroup var domains: DomainOptions

    @Option(help: "Samples of each domain.")
    var samples = 100

    @Option(
        help: ArgumentHelp(
            "Mask settings, separated by commas, as generate has them: which neurons are masked, of "
                + "the sample's domain unless one is named.", valueName: "list"))
    var masks: String = "none"

    @Flag(help: "Drop what an earlier run measured and start over.")
    var again = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        if image != nil {
            guard prompt != nil else { throw ValidationError("--image goes with --prompt.") }
            guard bench == nil, study == nil || masking.mask != nil else {
                throw ValidationError("Give either --image and --prompt or --bench and --study.")
            }
        } else {
            guard bench != nil, study != nil else {
                throw ValidationError("Give --image and --prompt, or --bench and --study.")
            }
            guard prompt == nil, output == nil, masking.mask == nil, position == nil, part == .block
            else {
                throw ValidationError(
                    "--prompt, --output, --mask, --position and --part go with --image.")
            }
        }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
        if !LensOptions.tops.contains(top) {
            throw ValidationError("--top must be from 1 to \(LensOptions.tops.upperBound).")
        }
    }

    private var options: LensOptions {
        LensOptions(top: top, hidesFiller: !allRows, part: part)
    }

    func run() throws {
        if let image, let prompt {
            try look(image, prompt)
        } else if let bench, let study {
            try walk(bench, study)
        }
    }

    // MARK: - One picture

    private func look(_ image: String, _ prompt: String) throws {
        let picture = try RGBImage.decode(path: image)
        let model = try model.open(study: study)
        let mask = try masking.read(for: model, study: study)
        let reading = try model.lens(
            image: picture, prompt: prompt, mask: mask, options: options)
        let row = position ?? reading.positions - 1
        guard (0..<reading.positions).contains(row) else {
            throw ValidationError(
                "There are \(reading.positions) positions; \(row) is not one of them.")
        }
        let document = LensDocument(reading, tokenizer: model.tokenizer, prompt: prompt)
        if let output { try OutputFile.write(document.json, to: output) }
        if json {
            try Diagnostics.write(String(decoding: document.json, as: UTF8.self))
        } else {
            print(table(reading, document, row))
        }
    }

    private func table(_ reading: LensReading, _ document: LensDocument, _ row: Int) -> String {
        let kind = reading.isImage[row] ? "image" : "text"
        let token = shown(document.word(reading.inputIDs[row]), lines: false)
        var table = TextTable(["layer", "entropy", "KL to last", "most probable"])
        for layer in 0..<reading.layers {
            let at = layer * reading.positions + row
            let best = (0..<min(5, reading.top)).compactMap { place -> String? in
                let id = reading.topIDs[at * reading.top + place]
                guard id >= 0 else { return nil }
                let share = Double(reading.topProbabilities[at * reading.top + place])
                return document.word(id) + " " + TextTable.percent(share, 1) + " %"
            }
            table.add([
                String(layer), TextTable.number(Double(reading.entropies[at])),
                TextTable.number(Double(reading.divergences[at])), best.joined(separator: "  "),
            ])
        }
        let part = reading.part == .block ? "" : ", \(reading.part.rawValue) output alone"
        return """
            position \(row) of \(reading.positions), \(kind), \(token)\(part)
            \(table.text)
            """
    }

    // MARK: - Over a bench

    private func walk(_ bench: String, _ path: String) throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        let model = try model.open(study: path)
        func settings(_ domains: [Domain]) throws -> [MaskSetting] {
            try MaskSetting.list(
                masks, of: model.architecture, domains: domains, set: masking.sets.chosen())
        }
        // Before a study is made.
        _ = try settings(chosen)
        let file = try Study(path: path, access: .writing)
        let wanted = try settings(file.setDomains(masking.sets.chosen()))
        let series = try RunSeries(over: chosen, settings: wanted, study: file) {
            try LensPlan(
                study: file, model: model, bench: bench, split: split, samples: samples,
                options: options, again: again, allowsOutside: outside.allowOutside,
                shard: shards.chosen())
        } run: { plan, item, interrupt in
            let (outcome, pass) = try RunDisplay(item.domain, setting: item.setting.name)
                .follow(plan.step(item.domain, item.setting), interrupt)
            return (outcome, try file.lensSummary(pass))
        }
        try series.show(json: json, separator: "\n\n", Self.table)
        if series.isInterrupted { throw Diagnostics.interrupted(again: again) }
    }

    private static func table(_ summary: LensSummary) -> String {
        let pass = summary.pass
        var table = TextTable([
            "layer", "image: entropy", "top-1 %", "as last %", "KL", "text: entropy", "top-1 %",
            "as last %", "KL",
        ])
        func cells(_ means: LensMeans?) -> [String] {
            [
                TextTable.number(means?.entropy), TextTable.percent(means?.topProbability),
                TextTable.percent(means?.agreement), TextTable.number(means?.divergence),
            ]
        }
        for (number, layer) in summary.layers.enumerated() {
            table.add([String(number)] + cells(layer.image) + cells(layer.text))
        }
        return """
            \(pass.domain.rawValue), masks \(pass.setting): \(pass.samples) samples\(pass.leftOut), \
            \(summary.imagePositions) image and \(summary.textPositions) text positions
            \(table.text)
            """
    }
}

extension LensPass {
    /// How many samples could not be looked at, for a line of results.
    var leftOut: String {
        skipped > 0 ? ", \(skipped) left out (no picture, or the model cannot take it)" : ""
    }
}

extension LayerPart: ExpressibleByArgument {}
