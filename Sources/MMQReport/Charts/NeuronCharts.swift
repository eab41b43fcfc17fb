import Foundation
import MMQModels
import MMQStudy

extension ModuleNeurons {
    /// Neurons per layer, a row of bars for each domain, all on one scale.
    var layerChart: Chart {
        let (left, right) = (64.0, 300.0)
        let rowHeight = 36.0
        let most = counts.joined().max() ?? 0
        let slot = (right - left) / Double(max(1, module.layers))
        let bar = min(22, max(1.5, slot * 0.76))
        var drawing = SVGDrawing()
        for (row, domain) in domains.enumerated() {
            let base = 14 + Double(row + 1) * rowHeight
            drawing.text(domain.rawValue, 0, base - 12, "name")
            drawing.text(domain.subject, 0, base - 1, "note")
            drawing.line(left, base, right, base, "rule")
            for (layer, count) in counts[row].enumerated() {
                let center = left + (Double(layer) + 0.5) * slot
                let height =
                    most > 0 ? Double(count) / Double(most) * (rowHeight - 8) : 0
                let tip = "\(domain.rawValue), layer \(layer): \(PageText.whole(count)) neurons"
                if count > 0 {
                    drawing.rect(
                        center - bar / 2, base - max(1, height), bar, max(1, height),
                        "f-\(domain.colorClass)")
                }
                drawing.rect(
                    center - slot / 2, base - rowHeight + 6, slot, rowHeight - 6, "hit",
                    tip: tip)
            }
            let total = counts[row].reduce(0, +)
            drawing.text(PageText.whole(total), 352, base - 4, "end total")
        }
        let end = 14 + Double(domains.count) * rowHeight
        drawing.text("all layers", 352, 10, "end axis")
        drawing.text("tallest bar: \(PageText.whole(most))", left, 10, "axis")
        for layer in LineChart.ticks(module.layers) {
            drawing.text(
                String(layer), left + (Double(layer) + 0.5) * slot, end + 14, "mid num")
        }
        drawing.text("layer", 352, end + 14, "end axis")
        let totals = domains.enumerated().map { row, domain in
            "\(domain.rawValue) \(counts[row].reduce(0, +))"
        }
        var rows = (0..<module.layers).map { layer in
            [String(layer)] + counts.map { PageText.whole($0[layer]) }
        }
        rows.append(["all"] + counts.map { PageText.whole($0.reduce(0, +)) })
        return Chart(
            title: "\(module.name): \(PageText.whole(module.layers)) × "
                + "\(PageText.whole(module.neurons)) neurons",
            summary: "Neurons of module \(module.name) by layer for each domain. In all: "
                + totals.joined(separator: ", ") + ".",
            height: end + 20, drawing: drawing,
            table: PageTable(
                caption: "Domain-specific neurons of \(module.name) by layer",
                head: ["layer"] + domains.map(\.rawValue), rows: rows))
    }

    /// How the domains' sets overlap.
    var overlapChart: Chart {
        let left = 70.0
        let cell = min(54, 286 / Double(max(1, domains.count)))
        let top = 24.0
        var drawing = SVGDrawing()
        for (column, domain) in domains.enumerated() {
            let middle = (Double(column) + 0.5) * cell
            drawing.text(domain.rawValue, left + middle, top - 8, "mid name")
            drawing.text(domain.rawValue, left - 8, top + middle + 4, "end name")
        }
        for (row, one) in domains.enumerated() {
            for (column, other) in domains.enumerated() {
                let count = shared[row][column]
                let x = left + Double(column) * cell
                let y = top + Double(row) * cell
                let share = jaccard(row, column)
                let tip =
                    row == column
                    ? "\(one.rawValue): \(PageText.whole(count)) neurons"
                    : "\(one.rawValue) and \(other.rawValue): \(PageText.whole(count)) in both, "
                        + "\(PageText.percent(share)) % of those in either"
                drawing.rect(
                    x + 1, y + 1, cell - 2, cell - 2, row == column ? "diagonal" : "heat",
                    opacity: row == column ? nil : 0.06 + 0.94 * (share ?? 0), tip: tip)
                let style = row != column && (share ?? 0) > 0.5 ? " on" : ""
                drawing.text(
                    PageText.whole(count), x + cell / 2, y + cell / 2 + 1, "mid value" + style)
                let under = row == column ? "all" : PageText.percent(share, 0) + " %"
                drawing.text(under, x + cell / 2, y + cell / 2 + 13, "mid small" + style)
            }
        }
        let rows = domains.indices.map { row in
            [domains[row].rawValue] + domains.indices.map { PageText.whole(shared[row][$0]) }
        }
        return Chart(
            title: "\(module.name): \(PageText.whole(belonging)) "
                + (belonging == 1 ? "neuron" : "neurons") + " in any domain",
            summary: "How many neurons of module \(module.name) two domains share.",
            height: top + Double(domains.count) * cell + 4, drawing: drawing,
            table: PageTable(
                caption: "Neurons of \(module.name) that two domains share",
                head: ["domain"] + domains.map(\.rawValue), rows: rows))
    }
}

extension ModuleNeurons.Entropies {
    /// The histogram of entropies. Its axis of counts is logarithmic: the selected are few.
    func chart(_ module: String) -> Chart {
        let (left, right, top, bottom) = (46.0, 350.0, 24.0, 156.0)
        let x = ChartScale(low: 0, high: limit, from: left, to: right)
        let most = Double(bins.max() ?? 1)
        let tens = max(1, Int(log10(max(1, most)).rounded(.up)))
        func height(_ count: Int) -> Double {
            count > 0 ? (log10(Double(count)) + 0.3) / (Double(tens) + 0.3) * (bottom - top) : 0
        }
        var drawing = SVGDrawing()
        drawing.text("neurons (logarithmic)", 2, 11, "axis")
        for power in 0...tens where tens <= 4 || power % 2 == 0 {
            let count = Int(pow(10, Double(power)))
            let y = bottom - height(count)
            drawing.line(left, y, right, y, "grid")
            drawing.text(PageText.whole(count), left - 6, y + 3.5, "end num")
        }
        let step = (right - left) / Double(max(1, bins.count))
        for (bin, count) in bins.enumerated() {
            let start = left + Double(bin) * step
            drawing.rect(
                start + 0.5, bottom - height(count), step - 1, height(count), "f-rest")
            drawing.rect(
                start + 0.5, bottom - height(selected[bin]), step - 1, height(selected[bin]),
                "f-accent")
            drawing.rect(
                start, top, step, bottom - top, "hit",
                tip: "entropy \(edge(bin)) to \(edge(bin + 1)): \(PageText.whole(count)) neurons, "
                    + "\(PageText.whole(selected[bin])) selected")
        }
        drawing.line(left, bottom, right, bottom, "rule")
        if let threshold {
            drawing.line(x(threshold), top - 4, x(threshold), bottom, "cut")
            let isLeft = x(threshold) < (left + right) / 2
            drawing.text(
                "selected up to \(PageText.number(threshold, 3))",
                x(threshold) + (isLeft ? 5 : -5), top + 5, isLeft ? "note" : "end note")
        }
        let (ticks, places) = x.ticks(5)
        for tick in ticks {
            drawing.text(PageText.number(tick, places), x(tick), bottom + 15, "mid num")
        }
        drawing.text("entropy over domains", right, bottom + 29, "end axis")
        let chosen = selected.reduce(0, +)
        return Chart(
            title: module,
            summary: "Neurons of module \(module) by the entropy of their activation over "
                + "domains. \(PageText.whole(chosen)) of \(PageText.whole(bins.reduce(0, +))) "
                + "are selected, those of least entropy; \(PageText.whole(dropped)) more fire too "
                + "rarely to be ranked.",
            height: 188, drawing: drawing,
            table: PageTable(
                caption: "Entropies in \(module)", head: ["entropy", "neurons", "selected"],
                rows: bins.indices.filter { bins[$0] > 0 }.map {
                    [
                        "\(edge($0)) … \(edge($0 + 1))", PageText.whole(bins[$0]),
                        PageText.whole(selected[$0]),
                    ]
                }))
    }

    private func edge(_ bin: Int) -> String {
        PageText.number(Double(bin) / Double(bins.count) * limit, 3)
    }
}

extension Domain {
    /// The domain's colour in the style.
    var colorClass: String { "c\(place)" }
}
