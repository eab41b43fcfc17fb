import MMQStudy

extension ReportPage {
    /// Two models side by side: single pairs of neuron and token, and the lens's divergence.
    @MarkupBuilder func models(_ entry: ModelFidelity) -> Markup {
        let samples = entry.entries.map {
            "\($0.domain.rawValue) \(PageText.whole($0.comparison.samples))"
        }
        element(.h3) {
            "Two models side by side "
            element(.small) {
                foreign(entry.file)
                "; samples: " + samples.joined(separator: ", ")
            }
        }
        element(.h4) { "Neurons that fire alike" }
        legend(entry.entries.map(\.domain), \.rawValue)
        row(firing(entry))
        element(.h4) { "Lens" }
        legend(entry.entries.map(\.domain), \.rawValue)
        row(lens(entry), inPairs: true)
    }

    private func firing(_ entry: ModelFidelity) -> [Chart] {
        unique(entry.entries.flatMap { $0.comparison.firing }.map(\.module)).map { module in
            LineChart(
                title: module,
                summary:
                    "Share of pairs of a neuron of \(module) and a token that fire in both "
                    + "models or in neither, by layer, one line per domain.",
                series: entry.entries.map { entry in
                    let some = entry.comparison.firing.filter { $0.module == module }
                    var values = [Double?](
                        repeating: nil, count: (some.map(\.layer).max() ?? -1) + 1)
                    for firing in some { values[firing.layer] = firing.share }
                    return Self.series(entry.domain, values)
                }, axis: "pairs that fire alike, %", includes: [98, 100],
                format: { PageText.percent($0, 3) + " %" }, isShare: true
            ).chart
        }
    }

    private func lens(_ entry: ModelFidelity) -> [Chart] {
        let kinds: [(String, KeyPath<ModelComparison.LensLayer, ModelComparison.Lens>)] = [
            ("image positions", \.image), ("text positions", \.text),
        ]
        func lines(
            _ kind: KeyPath<ModelComparison.LensLayer, ModelComparison.Lens>,
            _ value: KeyPath<ModelComparison.Lens, Double?>
        ) -> [LineChart.Series] {
            entry.entries.map { entry in
                Self.series(
                    entry.domain,
                    entry.comparison.lens.map { $0[keyPath: kind][keyPath: value] })
            }
        }
        return kinds.map { name, kind in
            LineChart(
                title: "Same first choice, \(name)",
                summary: "Share of \(name) where the lenses of both models choose the same "
                    + "token, by layer, one line per domain.",
                series: lines(kind, \.agreement), axis: "same first choice, %",
                includes: [98, 100], format: { PageText.percent($0) + " %" }, isShare: true
            ).chart
        }
            + kinds.map { name, kind in
                LineChart(
                    title: "Divergence, \(name)",
                    summary: "Mean KL divergence of the second model's lens from the first "
                        + "one's over \(name), by layer, one line per domain.",
                    series: lines(kind, \.meanDivergence), axis: "mean KL(first ‖ second)",
                    includes: [0], format: { PageText.number($0, 6) }
                ).chart
            }
    }

    private static func series(_ domain: Domain, _ values: [Double?]) -> LineChart.Series {
        LineChart.Series(
            name: domain.rawValue, color: domain.colorClass, shape: domain.place, values: values)
    }
}
