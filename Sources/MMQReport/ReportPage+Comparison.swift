import Foundation
import MMQStudy

extension ReportPage {
    func writeComparisons() {
        section(
            "fidelity", "Fidelity: other weights next to these",
            "The same samples through another model, int8 or int4 next to fp16 for example. Changes "
                + "are the other study less this one; only what both hold is compared."
        ) {
            for entry in document.models { writeModels(entry) }
            guard !document.comparisons.isEmpty || !document.models.isEmpty else {
                return missing(
                    "No other study was given:",
                    "mmq report \(studyArgument) --output FILE.html --compare OTHER_STUDY")
            }
            for entry in document.comparisons { writeComparison(entry) }
        }
    }

    private func writeComparison(_ entry: ReportComparison) {
        let found = entry.comparison
        let model = entry.fingerprint.map { " <small><code>\(PageText.escaped($0))</code></small>" }
        add("<h3>\(foreign(entry.file))\(model ?? "")</h3>")
        writeChanges(found.activation)
        writeSets(found.neurons)
        writeLensChanges(found.lens)
        writeAnswers(found)
        if !found.notes.isEmpty {
            let notes = found.notes.map { "<li>\(foreign($0))</li>" }.joined()
            add(
                "<details class=\"more\" open><summary>Not compared, or not alike</summary>"
                    + "<ul>\(notes)</ul></details>")
        }
    }

    private func writeChanges(_ changes: [StudyComparison.Activation]) {
        guard !changes.isEmpty else { return }
        add("<h4>Activation probability</h4>")
        let domains = Domain.allCases.filter { domain in
            changes.contains { $0.domain == domain }
        }
        legend(domains, \.rawValue)
        let modules = document.modules.map(\.module)
        row(
            modules.compactMap { module in
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

    private func writeSets(_ sets: [StudyComparison.NeuronSets]) {
        guard !sets.isEmpty else { return }
        add("<h4>Neuron sets</h4>")
        add(
            PageTable(
                caption: "Neurons of each domain in both studies; Jaccard: in both / in either",
                head: ["module", "domain", "this study", "other", "in both", "Jaccard"], labels: 2,
                rows: sets.map {
                    [
                        $0.module, $0.domain.rawValue, PageText.whole($0.first),
                        PageText.whole($0.second), PageText.whole($0.common),
                        PageText.number($0.jaccard, 3),
                    ]
                }
            ).html)
    }

    private func writeLensChanges(_ lens: [StudyComparison.Lens]) {
        var settings: [String] = []
        for entry in lens where !settings.contains(entry.setting) {
            settings.append(entry.setting)
        }
        for setting in settings {
            let some = lens.filter { $0.setting == setting }
            let domains = Domain.allCases.filter { domain in
                some.contains { $0.domain == domain }
            }
            add("<h4>Lens, masks \(foreign(setting))</h4>")
            legend(domains, \.rawValue)
            let layers = (some.map(\.layer).max() ?? -1) + 1
            func chart(
                _ title: String, _ value: (StudyComparison.Lens) -> Double?
            ) -> Chart {
                LineChart(
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
            row(
                [
                    chart("image positions", \.imageAgreement),
                    chart("text positions", \.textAgreement),
                ], inPairs: true)
            fold(
                "Changes of entropy and divergence, masks \(setting)",
                PageTable(
                    caption: "Lens by layer, the other study less this one, masks \(setting)",
                    head: ["domain", "layer", "samples", "entropy", "KL to last layer"],
                    rows: some.map {
                        [
                            $0.domain.rawValue, String($0.layer), PageText.whole($0.samples),
                            PageText.number($0.entropyChange, 4, sign: true),
                            PageText.number($0.divergenceChange, 4, sign: true),
                        ]
                    }))
        }
    }

    private func writeAnswers(_ found: StudyComparison) {
        guard !found.answers.isEmpty else { return }
        add("<h4>Answers and scores</h4>")
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
        row(charts)
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
