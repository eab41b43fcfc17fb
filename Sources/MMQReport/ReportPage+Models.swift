import Foundation
import MMQStudy

extension ReportPage {
    /// Two models side by side: single pairs of neuron and token, and the lens's divergence.
    func writeModels(_ entry: ModelFidelity) {
        let samples = entry.entries.map {
            "\($0.domain.rawValue) \(PageText.whole($0.comparison.samples))"
        }
        add(
            "<h3>Two models side by side <small>\(foreign(entry.file)); samples: "
                + "\(samples.joined(separator: ", "))</small></h3>")
        add("<h4>Neurons that fire alike</h4>")
        legend(entry.entries.map(\.domain), \.rawValue)
        var modules: [String] = []
        for firing in entry.entries.flatMap({ $0.comparison.firing })
        where !modules.contains(firing.module) {
            modules.append(firing.module)
        }
        row(
            modules.map { module in
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
            })
        add("<h4>Lens</h4>")
        legend(entry.entries.map(\.domain), \.rawValue)
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
        row(
            kinds.map { name, kind in
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
                }, inPairs: true)
    }

    private static func series(_ domain: Domain, _ values: [Double?]) -> LineChart.Series {
        LineChart.Series(
            name: domain.rawValue, color: domain.colorClass, shape: domain.place, values: values)
    }
}
