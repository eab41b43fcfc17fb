import Foundation
import MMQBase
import MMQStudy

extension ReportPage {
    private var identified: [ModuleNeurons] { document.modules.filter(\.isIdentified) }

    func writeNeurons() {
        section(
            "neurons", "Where the domain-specific neurons are",
            "A neuron is one output of an MLP's activation function. Selected are those whose "
                + "activity is least evenly spread over the domains; a selected neuron belongs to "
                + "every domain in which it fires often, and counts in each of them."
        ) {
            writeUnidentified()
            guard !identified.isEmpty else { return }
            row(identified.map(\.layerChart))
            fold(
                "How they were found",
                PageTable(
                    caption: "Rates and thresholds of the identification",
                    head: [
                        "module", "split", "domains", "neurons", "top rate", "filter rate",
                        "activation bar", "p of the filter", "p of the bar", "selected",
                        "in a domain",
                    ], labels: 3,
                    rows: identified.map { found in
                        [
                            found.module.name, found.split,
                            found.domains.map(\.rawValue).joined(separator: ", "),
                            PageText.whole(found.module.layers * found.module.neurons),
                            PageText.number(found.settings.topRate, 3),
                            PageText.number(found.settings.filterRate, 3),
                            PageText.number(found.settings.activationBar, 3),
                            PageText.number(found.filterThreshold, 5),
                            PageText.number(found.activationThreshold, 5),
                            PageText.whole(found.selected), PageText.whole(found.belonging),
                        ]
                    }))
        }
    }

    /// Says which modules have no neuron sets, and what makes them.
    private func writeUnidentified() {
        let rest = document.modules.filter { !$0.isIdentified }.map(\.module.name)
        let counted = Set(document.facts.passes.map(\.domain)).count
        if document.modules.isEmpty || counted < 2, identified.isEmpty {
            missing(
                counted == 0
                    ? "Nothing was counted yet:" : "Two domains are needed, one is counted:",
                "mmq activation --model DIR --bench DIR \(studyArgument)",
                "mmq identify \(studyArgument)")
        } else if !rest.isEmpty {
            missing(
                "Not looked for in \(PageText.escaped(rest.joined(separator: ", "))):",
                "mmq identify \(studyArgument)"
                    + (rest.count == 1 ? " -d \(Self.quoted(rest[0]))" : ""))
        }
    }

    func writeOverlap() {
        section(
            "overlap", "What domains share",
            "Each cell counts the neurons that two domains share and says what part that is of the "
                + "neurons in either (the Jaccard index); the diagonal has each domain's own number."
        ) {
            guard !identified.isEmpty else {
                return missing("No neuron sets yet:", "mmq identify \(studyArgument)")
            }
            row(identified.map(\.overlapChart))
        }
    }

    func writeEntropies() {
        section(
            "entropy", "How selective neurons are",
            "The entropy of a neuron's activation probability over the domains: 0 for a neuron that "
                + "fires in one domain only, ln of the number of domains for one that fires alike in "
                + "all. Neurons up to the threshold are selected (coloured)."
        ) {
            let held = identified.compactMap { found in
                found.entropies.map { (found, $0) }
            }
            guard !held.isEmpty else {
                if identified.isEmpty {
                    return missing("No neuron sets yet:", "mmq identify \(studyArgument)")
                }
                return missing(
                    "The counts behind the neuron sets are not in this study:",
                    "mmq activation --model DIR --bench DIR \(studyArgument)")
            }
            row(held.map { $1.chart($0.module.name) })
            let dropped = held.map {
                "\(PageText.escaped($0.module.name)) \(PageText.whole($1.dropped))"
            }
            add(
                "<p class=\"note\">Not drawn, because they fire too rarely in every domain to be "
                    + "ranked: \(dropped.joined(separator: ", ")).</p>")
        }
    }
}
