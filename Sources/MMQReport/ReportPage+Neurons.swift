import MMQStudy

extension ReportPage {
    private var identified: [ModuleNeurons] { document.modules.filter(\.isIdentified) }

    var neurons: Markup {
        section(
            "neurons", "Where the domain-specific neurons are",
            Markup(
                "A neuron is one output of an MLP's activation function. Selected are those whose "
                    + "activity is least evenly spread over the domains; a selected neuron belongs "
                    + "to every domain in which it fires often, and counts in each of them.")
        ) {
            unidentified
            if document.set != SetName.usual.name {
                note { "These are the sets that were found under the name \(document.set)." }
            }
            if !identified.isEmpty {
                row(identified.map(\.layerChart))
                fold("How they were found", rates)
            }
        }
    }

    private var rates: PageTable {
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
            })
    }

    /// Says which modules have no neuron sets, and what makes them.
    @MarkupBuilder private var unidentified: Markup {
        let rest = document.modules.filter { !$0.isIdentified }.map(\.module.name)
        let counted = Set(document.facts.passes.map(\.domain)).count
        if document.modules.isEmpty || counted < 2, identified.isEmpty {
            missing(
                counted == 0
                    ? "Nothing was counted yet:" : "Two domains are needed, one is counted:",
                .counts, .neurons)
        } else if !rest.isEmpty {
            missing(
                "Not looked for in \(rest.joined(separator: ", ")):",
                rest.count == 1 ? .neuronsOf(module: rest[0]) : .neurons)
        }
    }

    var overlap: Markup {
        section(
            "overlap", "What domains share",
            Markup(
                "Each cell counts the neurons that two domains share and says what part that is of "
                    + "the neurons in either (the Jaccard index); the diagonal has each domain's "
                    + "own number.")
        ) {
            if identified.isEmpty { missing("No neuron sets yet:", .neurons) }
            row(identified.map(\.overlapChart))
        }
    }

    var entropies: Markup {
        let held = identified.compactMap { found in found.entropies.map { (found, $0) } }
        return section(
            "entropy", "How selective neurons are",
            Markup(
                "The entropy of a neuron's activation probability over the domains: 0 for a neuron "
                    + "that fires in one domain only, ln of the number of domains for one that "
                    + "fires alike in all. Neurons up to the threshold are selected (coloured).")
        ) {
            if identified.isEmpty {
                missing("No neuron sets yet:", .neurons)
            } else if held.isEmpty {
                missing("The counts behind the neuron sets are not in this study:", .counts)
            } else {
                row(held.map { $1.chart($0.module.name) })
                note {
                    "Not drawn, because they fire too rarely in every domain to be ranked: "
                    held.map { "\($0.module.name) \(PageText.whole($1.dropped))" }
                        .joined(separator: ", ")
                    "."
                }
            }
        }
    }
}
