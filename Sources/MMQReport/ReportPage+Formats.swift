import MMQBase
import MMQStudy

extension ReportPage {
    /// Number formats next to a reference: what each costs and changes, layer by layer, what becomes of
    /// the neurons and of the scores.
    @MarkupBuilder func formats(_ entry: FormatFidelity) -> Markup {
        let found = entry.fidelity
        let samples = found.samples.map {
            "\($0.domain.rawValue) \(PageText.whole($0.compared))"
        }
        element(.h3) {
            "Number formats next to "
            foreign(found.reference)
            " "
            element(.small) {
                foreign(entry.file)
                "; samples: " + samples.joined(separator: ", ")
            }
        }
        Self.overview(found).markup
        let series = Self.lines(of: found.models)
        element(.h4) { "Gates that change their sign, and the next token" }
        legend(series)
        row(kinds.map { flipped(found, $0) }, inPairs: true)
        row(kinds.map { divergence(found, $0) }, inPairs: true)
        row(kinds.map { agreement(found, $0) }, inPairs: true)
        element(.h4) { "Activation probability" }
        legend(series)
        row(shifts(found))
        if found.models.contains(where: { !$0.neurons.isEmpty }) {
            element(.h4) { "Neuron sets" }
            Self.sets(found).markup
        }
        if found.models.contains(where: { !$0.answers.isEmpty }) {
            element(.h4) { "Answers and scores" }
            Self.answers(found).markup
        }
    }

    // MARK: - Tables

    private static func overview(_ found: Fidelity) -> PageTable {
        func cost(_ name: String, _ cost: Fidelity.Cost) -> [String] {
            [
                name, PageText.number(cost.bits, 2), PageText.number(Double(cost.bytes) / 1e6, 1),
                PageText.number(cost.speed?.prompt, 1), PageText.number(cost.speed?.answer, 1),
            ]
        }
        return PageTable(
            caption:
                "Bits of a decoder weight, size of both files, speed of prompts and of answers "
                + "one at a time; over all domains: divergence of the next token, same first choice, "
                + "gates that change their sign; change of activation probabilities; neuron sets "
                + "(Jaccard), beside those of two halves of the reference's samples",
            head: [
                "model", "bits", "MB", "prompt, tokens/s", "answer, tokens/s", "image: KL",
                "same choice, %", "flipped, %", "text: KL", "same choice, %", "flipped, %",
                "|Δp| mean", "greatest", "Jaccard", "halves",
            ],
            rows: [cost(found.reference, found.cost) + Array(repeating: "", count: 10)]
                + found.models.map { model in
                    let summary = model.summary
                    return cost(model.name, model.cost)
                        + [summary.image, summary.text].flatMap {
                            [
                                PageText.number($0.divergence, 4), PageText.percent($0.agreement),
                                PageText.percent($0.flipped, 3),
                            ]
                        } + [
                            PageText.number(summary.meanShift, 5),
                            PageText.number(summary.greatestShift, 3),
                            PageText.number(summary.jaccard, 3),
                            PageText.number(summary.halves, 3),
                        ]
                })
    }

    private static func sets(_ found: Fidelity) -> PageTable {
        /// A module's set of a domain.
        struct Place: Hashable {
            let module: String
            let domain: Domain

            init(_ set: Fidelity.Neurons) { (module, domain) = (set.module, set.domain) }
        }
        var places: [Place] = [], halves: [Place: Double] = [:]
        for set in found.models.flatMap(\.neurons) {
            if places.count < found.models[0].neurons.count { places.append(Place(set)) }
            halves[Place(set)] = set.halves
        }
        let sets = found.models.map { model in
            Dictionary(model.neurons.map { (Place($0), $0) }) { first, _ in first }
        }
        return PageTable(
            caption: "Neurons of each domain, in both / in either (Jaccard): every model with the "
                + "reference, and two halves of the reference's samples with each other",
            head: ["module", "domain", "halves"] + found.models.map(\.name), labels: 2,
            rows: places.map { place in
                [place.module, place.domain.rawValue, PageText.number(halves[place], 3)]
                    + sets.map { PageText.number($0[place]?.jaccard, 3) }
            })
    }

    private static func answers(_ found: Fidelity) -> PageTable {
        PageTable(
            caption: "Greedy answers that are the reference's to the letter, and scores, "
                + "model less reference, with the 95 % interval and a paired test",
            head: [
                "model", "domain", "form", "score", "samples", "equal, %", "reference", "model",
                "change", "from", "to", "p",
            ], labels: 4,
            rows: found.models.flatMap { model in
                model.answers.flatMap { answers in
                    let scores = model.scores.filter { $0.domain == answers.domain }
                    func row(_ form: String, _ metric: String, _ numbers: [String]) -> [String] {
                        [
                            model.name, answers.domain.rawValue, form, metric,
                            PageText.whole(answers.samples), PageText.percent(answers.agreement),
                        ] + numbers
                    }
                    guard !scores.isEmpty else {
                        return [row("", "", Array(repeating: "", count: 6))]
                    }
                    return scores.map { score in
                        let change = score.change
                        return row(
                            score.form.rawValue, score.metric,
                            [score.first, score.second, change.difference, change.interval.low]
                                .map { PageText.percent($0) }
                                + [
                                    PageText.percent(change.interval.high),
                                    PageText.number(change.p, 4),
                                ])
                    }
                }
            })
    }

    // MARK: - Charts

    /// Positions of one kind.
    private struct Kind {
        let name: String
        let lens: KeyPath<ModelComparison.LensLayer, ModelComparison.Lens>
        let pairs: KeyPath<ModelComparison.Firing, ModelComparison.Pairs?>
    }

    private var kinds: [Kind] {
        [
            Kind(name: "image positions", lens: \.image, pairs: \.image),
            Kind(name: "text positions", lens: \.text, pairs: \.text),
        ]
    }

    /// A line of each model; behind the fifth colours come again.
    private static func lines(
        of models: [Fidelity.Model]
    ) -> [(name: String, color: String, shape: Int)] {
        models.enumerated().map { ($1.name, "c\($0 % 5)", $0) }
    }

    private func series(
        _ found: Fidelity, _ values: (Fidelity.Model) -> [Double?]
    ) -> [LineChart.Series] {
        zip(found.models, Self.lines(of: found.models)).map { model, line in
            LineChart.Series(
                name: line.name, color: line.color, shape: line.shape, values: values(model))
        }
    }

    private func flipped(_ found: Fidelity, _ kind: Kind) -> Chart {
        LineChart(
            title: "Gates with another sign, \(kind.name)",
            summary: "Share of pairs of a neuron of the decoder and one of the \(kind.name) whose "
                + "gate has another sign than in the reference, by layer, one line per model.",
            series: series(found) { model in
                let firing = model.entries.flatMap { $0.comparison.firing }
                var sums: [ModelComparison.Pairs] = []
                for layer in firing {
                    guard let pairs = layer[keyPath: kind.pairs] else { continue }
                    while sums.count <= layer.layer { sums.append(ModelComparison.Pairs()) }
                    sums[layer.layer].add(pairs)
                }
                return sums.map { $0.share.map { 1 - $0 } }
            }, axis: "flipped, %", includes: [0], format: { PageText.percent($0, 3) + " %" },
            isShare: true
        ).chart
    }

    private func lens(_ model: Fidelity.Model, _ kind: Kind) -> [ModelComparison.Lens] {
        var sums: [ModelComparison.Lens] = []
        for entry in model.entries {
            for (layer, lens) in entry.comparison.lens.enumerated() {
                if sums.count <= layer { sums.append(ModelComparison.Lens()) }
                sums[layer].add(lens[keyPath: kind.lens])
            }
        }
        return sums
    }

    private func divergence(_ found: Fidelity, _ kind: Kind) -> Chart {
        LineChart(
            title: "Divergence, \(kind.name)",
            summary: "Mean KL divergence of each model's lens from the reference's over "
                + "\(kind.name), by layer; the last layer's are the models' own distributions.",
            series: series(found) { lens($0, kind).map(\.meanDivergence) },
            axis: "mean KL(reference ‖ model)", includes: [0], format: { PageText.number($0, 6) }
        ).chart
    }

    private func agreement(_ found: Fidelity, _ kind: Kind) -> Chart {
        LineChart(
            title: "Same first choice, \(kind.name)",
            summary:
                "Share of \(kind.name) where a model's lens and the reference's choose the same "
                + "token, by layer, one line per model.",
            series: series(found) { lens($0, kind).map(\.agreement) }, axis: "same first choice, %",
            includes: [98, 100], format: { PageText.percent($0) + " %" }, isShare: true
        ).chart
    }

    private func shifts(_ found: Fidelity) -> [Chart] {
        let modules = found.models.flatMap { Self.layers(of: $0) }
        return unique(modules.map(\.module)).map { module in
            // [models][layers]: over all domains.
            let values = found.models.map { model in
                Self.layers(of: model).first { $0.module == module }?.shifts ?? []
            }
            var chart = LineChart(
                title: module,
                summary: "Mean change of activation probability in module \(module) by layer, over "
                    + "its neurons and all domains, one line per model.",
                series: zip(Self.lines(of: found.models), values).map { line, layers in
                    LineChart.Series(
                        name: line.name, color: line.color, shape: line.shape,
                        values: layers.map { $0.map(\.mean).mean })
                }, axis: "mean |Δp|, %", includes: [0], format: { PageText.percent($0, 3) + " %" },
                isShare: true
            ).chart
            chart.table.head =
                ["layer"] + found.models.flatMap { ["\($0.name): mean %", "greatest %"] }
            chart.table.rows = (0..<(values.map(\.count).max() ?? 0)).map { layer in
                [String(layer)]
                    + values.flatMap { layers -> [String] in
                        let some = layers.indices.contains(layer) ? layers[layer] : []
                        return [
                            PageText.percent(some.map(\.mean).mean, 3),
                            PageText.percent(some.map(\.greatest).max(), 2),
                        ]
                    }
            }
            return chart
        }
    }

    /// A model's changes of activation probability by module and layer, of all domains together.
    private static func layers(
        of model: Fidelity.Model
    ) -> [(module: String, shifts: [[Fidelity.Shift]])] {
        var places: [String: Int] = [:]
        var modules: [(module: String, shifts: [[Fidelity.Shift]])] = []
        for shift in model.entries.flatMap(\.shifts) {
            let place = places[shift.module] ?? modules.count
            if place == modules.count {
                places[shift.module] = place
                modules.append((shift.module, []))
            }
            while modules[place].shifts.count <= shift.layer { modules[place].shifts.append([]) }
            modules[place].shifts[shift.layer].append(shift)
        }
        return modules
    }
}
