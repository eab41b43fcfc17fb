import Foundation
import MMQModels
import MMQStudy

extension ReportGallery.Neuron {
    /// How often the neuron fires in each domain and how its activations are distributed, this study's
    /// filled, others' outlined.
    ///
    /// - Parameter studies: their names, this one's first.
    func chart(_ studies: [String]) -> Chart {
        let (left, right, top, rowHeight) = (44.0, 262.0, 24.0, 30.0)
        let rows = card.domains
        let cards = [card] + others.compactMap { $0?.card }
        let most = cards.flatMap(\.domains).compactMap { $0.histogram?.max() }.max() ?? 0
        let bins = MomentHistogram.edges.count + 1
        let slot = (right - left) / Double(bins)
        func height(_ count: Int64) -> Double {
            // By the logarithm: most activations lie about 0.
            most > 0 ? log(1 + Double(count)) / log(1 + Double(most)) * (rowHeight - 7) : 0
        }
        var drawing = SVGDrawing()
        drawing.text("p %", 356, 11, "end axis")
        if most > 0 {
            for (number, edge) in MomentHistogram.edges.enumerated() where number % 3 == 1 {
                let x = left + Double(number + 1) * slot
                drawing.text(Self.number(edge), x, 11, "mid num")
                drawing.line(x, 15, x, top + Double(rows.count) * rowHeight, "grid")
            }
        }
        for (row, entry) in rows.enumerated() {
            let base = top + Double(row + 1) * rowHeight - 5
            drawing.text(entry.domain.rawValue, 0, base - 3, entry.belongs ? "name" : "")
            drawing.line(left, base, right, base, "rule")
            func steps(_ histogram: [Int64]) -> [(Double, Double)] {
                [(left, base)]
                    + histogram.enumerated().flatMap { bin, count in
                        let y = base - height(count)
                        let x = left + Double(bin) * slot
                        return [(x, y), (x + slot, y)]
                    } + [(right, base)]
            }
            if let histogram = entry.histogram {
                drawing.polygon(steps(histogram), "f-\(entry.domain.colorClass)")
            } else {
                drawing.rect(
                    left, base - 14, (right - left) * entry.probability, 14,
                    "f-\(entry.domain.colorClass)")
            }
            var beside: [String] = []
            for (number, other) in others.enumerated() {
                guard
                    let same = other?.card.domains.first(where: { $0.domain == entry.domain })
                else { continue }
                beside.append(PageText.percent(same.probability))
                if let histogram = same.histogram {
                    drawing.polyline(steps(histogram), ReportPage.outline(number + 1))
                }
            }
            drawing.text(
                PageText.percent(entry.probability), 356, base - (beside.isEmpty ? 3 : 9),
                "end total")
            if !beside.isEmpty {
                drawing.text(beside.joined(separator: ", "), 356, base + 2, "end small")
            }
        }
        return Chart(
            title: "Activations by domain",
            summary: "Share of tokens at which neuron \(card.neuron) of layer \(card.layer) of "
                + "\(card.module) fires, by domain: "
                + rows.map {
                    "\($0.domain.rawValue) \(PageText.percent($0.probability)) %"
                }.joined(separator: ", ") + ".",
            height: top + Double(rows.count) * rowHeight + 2, drawing: drawing,
            table: table(studies))
    }

    private func table(_ studies: [String]) -> PageTable {
        let all = zip(studies, [card] + others.map { $0?.card })
        let hasHistograms = all.contains { _, card in
            card?.domains.contains { $0.histogram != nil } ?? false
        }
        var head = ["domain"]
        if studies.count > 1 { head.append("study") }
        head += ["tokens", "p %", "mean", "greatest"]
        let edges = MomentHistogram.edges.map(Self.number)
        if hasHistograms { head += edges.map { "≤ " + $0 } + edges.suffix(1).map { "> " + $0 } }
        var rows: [[String]] = []
        for domain in card.domains.map(\.domain) {
            for (name, card) in all {
                guard let entry = card?.domains.first(where: { $0.domain == domain }) else {
                    continue
                }
                var row = [domain.rawValue] + (studies.count > 1 ? [name] : [])
                row += [
                    PageText.whole(entry.tokens), PageText.percent(entry.probability, 2),
                    PageText.number(entry.mean, 4),
                    PageText.number(entry.maximum.map(Double.init), 4),
                ]
                if hasHistograms {
                    row +=
                        entry.histogram?.map { PageText.whole($0) }
                        ?? Array(repeating: "–", count: edges.count + 1)
                }
                rows.append(row)
            }
        }
        return PageTable(
            caption: "Tokens by activation", head: head, labels: studies.count > 1 ? 2 : 1,
            rows: rows)
    }

    private static func number(_ edge: Float) -> String {
        (edge < 0 ? "\u{2212}" : "")
            + (edge == edge.rounded() ? String(Int(abs(edge))) : String(abs(edge)))
    }
}
