import MMQStudy

extension ReportPage {
    var lens: Markup {
        section(
            "lens", "What each layer would say",
            Markup(
                "The logit lens reads every decoder layer as if it were the last. Entropy (natural "
                    + "logarithm) says how undecided a layer is about the next token; agreement is "
                    + "the share of positions where its first choice is already the last layer's.")
        ) {
            if document.lens.isEmpty { missing("The lens was not run over a bench yet:", .lens) }
            for setting in unique(document.lens.map(\.pass.setting)) {
                lens(setting, document.lens.filter { $0.pass.setting == setting })
            }
        }
    }

    @MarkupBuilder
    private func lens(_ setting: String, _ summaries: [LensSummary]) -> Markup {
        let samples = summaries.map {
            "\($0.pass.domain.rawValue) \(PageText.whole($0.pass.samples)) "
                + "(\(PageText.whole($0.imagePositions)) + \(PageText.whole($0.textPositions)))"
        }
        element(.h3) {
            "masks: "
            foreign(setting)
        }
        legend(summaries.map(\.pass.domain)) { "\($0.rawValue) · \($0.subject)" }
        note { "Samples (image + text positions): " + samples.joined(separator: ", ") }
        row(charts(of: summaries), inPairs: true)
        fold("All means of the lens, masks \(setting)", means(setting, summaries))
    }

    private func charts(of summaries: [LensSummary]) -> [Chart] {
        let kinds: [(String, KeyPath<LensSummary.Layer, LensMeans?>)] = [
            ("image positions", \.image), ("text positions", \.text),
        ]
        // One scale for image and text, so that they can be compared.
        let entropies = summaries.flatMap { $0.layers.flatMap { [$0.image, $0.text] } }
            .compactMap { $0?.entropy }
        let ends = [entropies.min(), entropies.max()].compactMap { $0 }
        func lines(
            _ kind: KeyPath<LensSummary.Layer, LensMeans?>, _ value: (LensMeans) -> Double
        ) -> [LineChart.Series] {
            summaries.map { summary in
                let domain = summary.pass.domain
                return .init(
                    name: domain.rawValue, color: domain.colorClass, shape: domain.place,
                    values: summary.layers.map { $0[keyPath: kind].map(value) })
            }
        }
        return kinds.map { name, kind in
            LineChart(
                title: "Entropy, \(name)",
                summary: "Mean entropy of the lens by layer over \(name).",
                series: lines(kind, \.entropy), axis: "mean entropy", includes: ends,
                format: { PageText.number($0, 3) }
            ).chart
        }
            + kinds.map { name, kind in
                LineChart(
                    title: "Agreement, \(name)",
                    summary: "Share of \(name) where a layer's most probable token is the "
                        + "last layer's.",
                    series: lines(kind, \.agreement), axis: "same first choice as the last, %",
                    includes: [0, 100], format: { PageText.percent($0) + " %" }, isShare: true
                ).chart
            }
    }

    private func means(_ setting: String, _ summaries: [LensSummary]) -> PageTable {
        var rows: [[String]] = []
        for summary in summaries {
            for (number, layer) in summary.layers.enumerated() {
                rows.append(
                    [summary.pass.domain.rawValue, String(number)]
                        + [layer.image, layer.text].flatMap { means in
                            [
                                PageText.number(means?.entropy, 4),
                                PageText.percent(means?.topProbability, 2),
                                PageText.percent(means?.agreement, 2),
                                PageText.number(means?.divergence, 4),
                            ]
                        })
            }
        }
        return PageTable(
            caption: "Means of the lens by layer, masks \(setting)",
            head: [
                "domain", "layer", "image: entropy", "top-1 %", "as last %", "KL to last",
                "text: entropy", "top-1 %", "as last %", "KL to last",
            ], rows: rows)
    }

    var deviations: Markup {
        section(
            "deviation", "How far masks move the hidden states",
            Markup(
                "Relative distance |x − x′| / |x| of each decoder layer's output with and without "
                    + "the neurons of one domain, as a mean over positions. One line per domain "
                    + "whose neurons are off.")
        ) {
            if document.deviations.isEmpty {
                missing("Not measured yet:", .deviations)
            } else {
                let masks = Domain.allCases.filter { domain in
                    document.deviations.contains { $0.masks.contains { $0.mask == domain } }
                }
                legend(masks) { "neurons of \($0.rawValue) off" }
                for entry in document.deviations { deviation(entry) }
            }
        }
    }

    @MarkupBuilder private func deviation(_ entry: ReportDeviation) -> Markup {
        element(.h3) {
            swatch(entry.pass.domain)
            "samples of \(entry.pass.domain.rawValue) "
            element(.small) {
                "masks "
                foreign(entry.pass.setting)
                ", \(PageText.whole(entry.pass.samples)) samples"
            }
        }
        row(
            [
                chart(entry, "image positions", \.imageDistance, \.imageCosine),
                chart(entry, "text positions", \.textDistance, \.textCosine),
            ], inPairs: true)
    }

    private func chart(
        _ entry: ReportDeviation, _ title: String,
        _ value: (DeviationSummary.Layer) -> Double?,
        _ cosine: (DeviationSummary.Layer) -> Double?
    ) -> Chart {
        var chart = LineChart(
            title: title,
            summary: "Mean relative distance of hidden states by layer over \(title) of "
                + "\(entry.pass.domain.rawValue) samples, one line per masked domain.",
            series: entry.masks.map { mask in
                .init(
                    name: mask.mask.rawValue, color: mask.mask.colorClass,
                    shape: mask.mask.place, values: mask.layers.map(value))
            }, axis: "mean relative distance", includes: [0],
            format: { PageText.number($0, 4) }
        ).chart
        chart.table.head =
            ["layer"] + entry.masks.flatMap { ["\($0.mask.rawValue): distance", "cosine"] }
        chart.table.rows = chart.table.rows.indices.map { layer in
            [String(layer)]
                + entry.masks.flatMap { mask -> [String] in
                    guard layer < mask.layers.count else { return ["–", "–"] }
                    return [
                        PageText.number(value(mask.layers[layer]), 4),
                        PageText.number(cosine(mask.layers[layer]), 5),
                    ]
                }
        }
        return chart
    }
}
