import MMQModels
import MMQStudy

extension ReportPage {
    /// Whether other pictures would find the same neurons.
    var stability: Markup {
        section("stability", "Would other pictures find the same neurons?", Self.stabilityIntro) {
            if document.stability.isEmpty { missing("No neuron sets yet:", .neurons) }
            for why in unique(document.stability.compactMap(\.missing)) {
                lacking(why, document.stability.filter { $0.missing == why })
            }
            let held = document.stability.compactMap(\.found)
            if let first = held.first {
                legend([
                    ("alike (Jaccard)", Self.alike.color, Self.alike.shape),
                    ("found of what all find", Self.found.color, Self.found.shape),
                ])
                for found in held { row([Self.halves(found), Self.curve(found)], inPairs: true) }
                note {
                    "\(PageText.whole(first.draws)) random halves, "
                    "\(PageText.whole(max(1, first.draws / 5))) draws for each point of a curve, seed "
                    "\(first.seed)."
                    if let command = commands.filling[.moreDraws] {
                        " More draws, and how often each neuron is found again: "
                        code(command)
                    }
                }
            }
        }
    }

    private static var stabilityIntro: Markup {
        Markup(
            "Left: how alike are the sets that two random halves of the pictures find, as the Jaccard "
                + "index, in both / in either, in per cent; the line is 95 % of the draws, chance what "
                + "sets of these sizes drawn blindly have in common. Right: sets from fewer pictures "
                + "of each domain next to those of all, the mean over the domains.")
    }

    private static let alike = (color: "accent", shape: 0)
    private static let found = (color: "c3", shape: 1)

    /// Says what cannot be told, and what changes that.
    @MarkupBuilder private func lacking(_ why: String, _ entries: [ReportStability]) -> Markup {
        let names = entries.map { Self.name($0.module, $0.positions) }.joined(separator: "; ")
        let modules = entries.map(\.module)
        let of = document.modules.filter { modules.contains($0.module.name) }
        let passes = document.facts.passes.filter { pass in
            pass.form == .simple
                && of.contains { $0.split == pass.split && $0.domains.contains(pass.domain) }
        }
        if passes.isEmpty {
            missing("The counts behind the neuron sets are not in this study:", .counts)
        } else if passes.contains(where: { $0.blocks == 1 }) {
            missing("\(names): not counted in blocks of pictures:", .blocks, .neurons)
        } else {
            missing("\(names): \(why)")
        }
    }

    private static func name(_ module: String, _ positions: Positions) -> String {
        switch positions {
        case .all: module
        case .image: module + ", positions of the picture"
        case .text: module + ", positions of the text"
        }
    }

    private static func name(_ found: Stability) -> String {
        name(found.module.name, found.settings.positions)
    }

    private static func halves(_ found: Stability) -> Chart {
        let name = name(found)
        let spoken = found.domains.map {
            "\($0.domain.rawValue) \(PageText.percent($0.halves?.mean)) %"
        }
        return ForestChart(
            title: "\(name): random halves",
            summary: "How alike the sets of random halves are, by domain: "
                + spoken.joined(separator: ", ") + ".",
            heads: ["alike", "chance"],
            rows: found.domains.map { entry in
                .init(
                    name: entry.domain.rawValue, value: entry.halves?.mean,
                    interval: entry.halves?.interval,
                    cells: [
                        PageText.percent(entry.halves?.mean),
                        PageText.percent(entry.halves?.chance),
                    ], note: "no neurons")
            }, color: alike.color,
            table: PageTable(
                caption: "\(name): sets of random halves, as Jaccard index",
                head: [
                    "domain", "samples", "blocks", "neurons", "halves alike", "95 % of draws",
                    "by chance",
                ],
                rows: found.domains.map { entry -> [String] in
                    let counted = [entry.samples, entry.blocks, entry.neurons].map {
                        PageText.whole($0)
                    }
                    guard let halves = entry.halves else {
                        return [entry.domain.rawValue] + counted + ["–", "–", "–"]
                    }
                    let numbers = [
                        halves.mean, halves.interval.low, halves.interval.high, halves.chance,
                    ].map { PageText.number($0, 3) }
                    return [entry.domain.rawValue] + counted
                        + [numbers[0], "\(numbers[1]) … \(numbers[2])", numbers[3]]
                }), includes: [0, 1]
        ).chart
    }

    private static func curve(_ found: Stability) -> Chart {
        let name = name(found)
        let points = found.curve
        var chart = LineChart(
            title: "\(name): by pictures counted",
            summary: "How alike the sets of fewer pictures and those of all are: "
                + points.map {
                    "\(PageText.number($0.samples, 0)) pictures \(PageText.percent($0.jaccard)) %"
                }.joined(separator: ", ") + ".",
            series: [
                .init(
                    name: "found", color: self.found.color, shape: self.found.shape,
                    values: points.map(\.found), isDashed: true),
                .init(
                    name: "alike", color: alike.color, shape: alike.shape,
                    values: points.map(\.jaccard)),
            ], axis: "next to the sets of all pictures, %", includes: [0, 100],
            format: { PageText.percent($0) + " %" }, isShare: true,
            along: .init(
                name: "pictures of each domain",
                labels: points.map { PageText.number($0.samples, 0) },
                places: points.map(\.samples))
        ).chart
        chart.table = PageTable(
            caption: "\(name): sets of some blocks next to those of all",
            head: ["blocks", "pictures", "alike (Jaccard)", "found %"],
            rows: points.map {
                [
                    String($0.blocks), PageText.number($0.samples, 1),
                    PageText.number($0.jaccard, 3), PageText.percent($0.found, 1),
                ]
            })
        return chart
    }
}
