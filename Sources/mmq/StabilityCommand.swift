import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq stability`: would other pictures find the same neurons?
struct StabilityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stability",
        abstract: "Would other pictures find the same neurons?",
        discussion: """
            Counts lie in blocks of samples (activation --blocks). Neurons are found anew from random \
            halves of the blocks, which are compared with each other; from blocks drawn with \
            replacement, which say how often each neuron is found again; and from few blocks, which \
            say how many pictures it takes. Rule, rates and positions are those of the set that \
            identify found.
            """)

    @OptionGroup var study: StudyOptions

    @Option(
        name: [.customShort("d"), .long],
        help: "The module: \(words: Architectures.moduleNames, "or") (default: all identified).")
    var module: [String] = []

    @OptionGroup var sets: SetOptions

    @Option(help: "Random halves, and as many resamplings.")
    var draws = 100

    @Option(help: "The seed of all draws.")
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard (2...100_000).contains(draws) else {
            throw ValidationError("--draws is between 2 and 100000.")
        }
    }

    func run() throws {
        let file = try study.open(.reading)
        let set = try sets.chosen()
        let names = try module.isEmpty ? file.modules().map(\.name) : module
        let found = try names.compactMap { try file.identification(module: $0, set: set) }
        guard !found.isEmpty else {
            throw InputError(
                .mismatch, file: study.study, item: set.name,
                "no neurons were identified under this name")
        }
        let entries = try found.map { entry in
            let report = ProgressReport(entry.module.name)
            defer { report.clear() }
            return try file.stability(
                module: entry.module.name, domains: entry.domains, split: entry.split,
                settings: entry.settings, draws: draws, seed: seed
            ) { report.update($0, from: 0, done: Int($0 * 100), unit: "%") }
        }
        if json {
            try Diagnostics.printJSON(entries)
        } else {
            print(entries.map(Self.text).joined(separator: "\n\n"))
        }
    }

    private static func text(_ entry: Stability) -> String {
        var domains = TextTable([
            "domain", "samples", "blocks", "neurons", "halves alike", "95 % of draws", "by chance",
            "found again: mean %", "in 95 % of draws",
        ])
        for row in entry.domains {
            let kept = row.kept.flatMap { $0 }
            domains.add([
                row.domain.rawValue, String(row.samples), String(row.blocks), String(row.neurons),
                TextTable.number(row.halves?.mean, 3),
                row.halves.map {
                    "\(TextTable.number($0.interval.low, 3)) … "
                        + TextTable.number($0.interval.high, 3)
                } ?? "-", TextTable.number(row.halves?.chance, 3),
                TextTable.percent(kept.mean, 1),
                String(kept.count { $0 >= 0.95 }),
            ])
        }
        var curve = TextTable(["blocks", "samples", "alike", "found %"])
        for point in entry.curve {
            curve.add([
                String(point.blocks), TextTable.number(point.samples, 1),
                TextTable.number(point.jaccard, 3), TextTable.percent(point.found, 1),
            ])
        }
        return """
            \(entry.module.name), rule \(entry.settings.rule.rawValue): \(entry.draws) draws
            \(domains.text)
            \(curve.text)
            """
    }
}
