import MMQStudy

extension ReportPage {
    var comparisons: Markup {
        section(
            "fidelity", "Fidelity: other weights next to these",
            Markup(
                "The same samples through another model, int8 or int4 next to fp16 for example. "
                    + "Changes are the other study less this one; only what both hold is compared.")
        ) {
            for entry in document.formats { formats(entry) }
            for entry in document.models { models(entry) }
            if document.comparisons.isEmpty, document.models.isEmpty, document.formats.isEmpty {
                missing("No other study was given:", .comparisons)
            }
            for entry in document.comparisons { comparison(entry) }
        }
    }

    @MarkupBuilder private func comparison(_ entry: ReportComparison) -> Markup {
        let found = entry.comparison
        element(.h3) {
            foreign(entry.file)
            if let model = entry.fingerprint {
                " "
                element(.small) { code(model) }
            }
        }
        if !found.activation.isEmpty { changes(found.activation) }
        if !found.neurons.isEmpty {
            element(.h4) { "Neuron sets" }
            Self.sets(found.neurons).markup
        }
        for setting in unique(found.lens.map(\.setting)) {
            lensChanges(setting, found.lens.filter { $0.setting == setting })
        }
        if !found.answers.isEmpty {
            element(.h4) { "Answers and scores" }
            row(answers(found))
        }
        if !found.notes.isEmpty {
            element(.details, ["class": "more", "open": ""]) {
                element(.summary) { "Not compared, or not alike" }
                element(.ul) {
                    for text in found.notes { element(.li) { foreign(text) } }
                }
            }
        }
    }

    @MarkupBuilder
    private func changes(_ changes: [StudyComparison.Activation]) -> Markup {
        let domains = Domain.allCases.filter { domain in
            changes.contains { $0.domain == domain }
        }
        element(.h4) { "Activation probability" }
        legend(domains, \.rawValue)
        row(
            document.modules.map(\.module).compactMap { module in
                let some = changes.filter { $0.module == module.name }
                guard !some.isEmpty else { return nil }
                func value(_ domain: Domain, _ layer: Int) -> StudyComparison.Activation? {
                    some.first { $0.domain == domain && $0.layer == layer }
                }
                var chart = LineChart(
                    title: module.name,
                    summary: "Mean change of activation probability in module \(module.name) by "
                        + "layer, one line per domain.",
                    series: domains.map { domain in
                        .init(
                            name: domain.rawValue, color: domain.colorClass, shape: domain.place,
                            values: (0..<module.layers).map { value(domain, $0)?.meanChange })
                    }, axis: "mean |change| of p, %", includes: [0],
                    format: { PageText.percent($0, 3) + " %" }, isShare: true
                ).chart
                chart.table.head =
                    ["layer"] + domains.flatMap { ["\($0.rawValue): mean %", "greatest %"] }
                chart.table.rows = (0..<module.layers).map { layer in
                    [String(layer)]
                        + domains.flatMap { domain in
                            [
                                PageText.percent(value(domain, layer)?.meanChange, 3),
                                PageText.percent(value(domain, layer)?.greatestChange, 2),
                            ]
                        }
                }
                return chart
            })
    }

    private static func sets(_ sets: [StudyComparison.NeuronSets]) -> PageTable {
        PageTable(
            caption: "Neurons of each domain in both studies; Jaccard: in both / in either",
            head: ["module", "domain", "this study", "other", "in both", "Jaccard"], labels: 2,
            rows: sets.map {
                [
                    $0.module, $0.domain.rawValue, PageText.whole($0.first),
                    PageText.whole($0.second), PageText.whole($0.common),
                    PageText.number($0.jaccard, 3),
                ]
            })
    }

    @MarkupBuilder
    private func lensChanges(_ setting: String, _ some: [StudyComparison.Lens]) -> Markup {
        let domains = Domain.allCases.filter { domain in
            some.contains { $0.domain == domain }
        }
        element(.h4) {
            "Lens, masks "
            foreign(setting)
        }
        legend(domains, \.rawValue)
        row(
            [
                agreement("image positions", domains, some, \.imageAgreement),
                agreement("text positions", domains, some, \.textAgreement),
            ], inPairs: true)
        fold(
            "Changes of entropy and divergence, masks \(setting)",
            Self.table(setting, some))
    }

    private func agreement(
        _ title: String, _ domains: [Domain], _ some: [StudyComparison.Lens],
        _ value: (StudyComparison.Lens) -> Double?
    ) -> Chart {
        let layers = (some.map(\.layer).max() ?? -1) + 1
        return LineChart(
            title: title,
            summary: "Share of \(title) where both studies' lenses choose the same token.",
            series: domains.map { domain in
                .init(
                    name: domain.rawValue, color: domain.colorClass, shape: domain.place,
                    values: (0..<layers).map { layer in
                        some.first { $0.domain == domain && $0.layer == layer }
                            .flatMap(value)
                    })
            }, axis: "same first choice, %", includes: [98, 100],
            format: { PageText.percent($0) + " %" }, isShare: true
        ).chart
    }

    private static func table(_ setting: String, _ some: [StudyComparison.Lens]) -> PageTable {
        PageTable(
            caption: "Lens by layer, the other study less this one, masks \(setting)",
            head: ["domain", "layer", "samples", "entropy", "KL to last layer"],
            rows: some.map {
                [
                    $0.domain.rawValue, String($0.layer), PageText.whole($0.samples),
                    PageText.number($0.entropyChange, 4, sign: true),
                    PageText.number($0.divergenceChange, 4, sign: true),
                ]
            })
    }

    private func answers(_ found: StudyComparison) -> [Chart] {
        let table = PageTable(
            caption: "Answers equal to the letter, in per cent",
            head: ["domain", "split", "mask", "equal", "95 % interval", "samples"], labels: 3,
            rows: found.answers.map {
                [
                    $0.domain.rawValue, $0.split, $0.setting, PageText.percent($0.agreement, 2),
                    Self.range($0.interval), PageText.whole($0.samples),
                ]
            })
        var charts = [
            ForestChart(
                title: "Equal answers",
                summary: "Share of answers that are equal to the letter in both studies, by "
                    + "domain and mask setting.",
                heads: ["equal"],
                rows: found.answers.map {
                    .init(
                        name: "\($0.domain.rawValue) \($0.setting)", value: $0.agreement,
                        interval: $0.interval, cells: [PageText.percent($0.agreement)])
                }, color: "accent", table: table, includes: [1]
            ).chart
        ]
        for form in MetricForm.allCases {
            let some = found.scores.filter { $0.form == form }
            if !some.isEmpty { charts.append(Self.change(some, form)) }
        }
        return charts
    }

    private static func change(_ scores: [StudyComparison.ScoreChange], _ form: MetricForm) -> Chart
    {
        let table = PageTable(
            caption: "Scores of both studies in per cent, \(form.rawValue)",
            head: [
                "domain", "split", "mask", "rule", "this study", "other", "change",
                "95 % interval", "samples", "p",
            ], labels: 4,
            rows: scores.map {
                [
                    $0.domain.rawValue, $0.split, $0.setting, $0.metric,
                    PageText.percent($0.first, 2), PageText.percent($0.second, 2),
                    PageText.percent($0.change.difference, 2, sign: true),
                    range($0.change.interval), PageText.whole($0.change.pairs),
                    plainP($0.change.p),
                ]
            })
        return ForestChart(
            title: "Change of scores, \(form.rawValue)",
            summary: "Change of the \(form.rawValue) scores, the other study less this one.",
            heads: ["Δ", "p"],
            rows: scores.map {
                .init(
                    name: "\($0.domain.rawValue) \($0.setting)", value: $0.change.difference,
                    interval: $0.change.interval,
                    cells: [
                        PageText.percent($0.change.difference, sign: true), shortP($0.change.p),
                    ], isFull: $0.change.p < 0.05)
            }, baseline: 0, color: "accent", table: table
        ).chart
    }
}
