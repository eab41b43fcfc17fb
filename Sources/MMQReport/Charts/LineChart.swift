/// Values layer by layer.
struct LineChart {
    /// One line.
    struct Series {
        /// Its name, in tips and in the table.
        var name: String
        /// Its colour: `c0`, `c1`, ... of the style.
        var color: String
        /// Its marks.
        var shape: Int
        /// One value per layer; nil breaks the line.
        var values: [Double?]
        /// Whether it is dashed.
        var isDashed = false
    }

    var title: String
    var summary: String
    var series: [Series]
    /// What the values are, beside the axis.
    var axis: String
    /// The ends of the axis that are to be seen in any case.
    var includes: [Double] = []
    /// How a value is written in tips and tables.
    var format: (Double?) -> String
    /// Whether the axis counts per cent of the values.
    var isShare = false

    var chart: Chart {
        let layers = series.map(\.values.count).max() ?? 0
        let (left, right, top, bottom) = (46.0, 350.0, 24.0, 186.0)
        let factor = isShare ? 100.0 : 1
        let values = series.flatMap { $0.values.compactMap { $0.map { $0 * factor } } } + includes
        let y = ChartScale(values, from: bottom, to: top, most: isShare ? 100 : nil)
        let x = ChartScale(
            low: 0, high: Double(max(1, layers - 1)), from: left + 8, to: right - 8)
        var drawing = SVGDrawing()
        drawing.text(axis, 2, 11, "axis")
        let (ticks, places) = y.ticks()
        for tick in ticks {
            drawing.line(left, y(tick), right, y(tick), "grid")
            drawing.text(PageText.number(tick, places), left - 6, y(tick) + 3.5, "end num")
        }
        for layer in Self.ticks(layers) {
            drawing.text(String(layer), x(Double(layer)), bottom + 15, "mid num")
        }
        drawing.text("layer", right, bottom + 29, "end axis")
        for (number, line) in series.enumerated() {
            var run: [(Double, Double)] = []
            var runs: [[(Double, Double)]] = []
            for (layer, value) in line.values.enumerated() {
                if let value, value.isFinite {
                    run.append((x(Double(layer)), y(value * factor)))
                } else {
                    runs.append(run)
                    run = []
                }
            }
            runs.append(run)
            let style = "line s-\(line.color)" + (line.isDashed ? " dashed" : "")
            for run in runs { drawing.polyline(run, style) }
            // Marks on few layers, each line on others, so that equal lines show both.
            let step = max(1, layers / 3)
            for (layer, value) in line.values.enumerated()
            where layers <= 8 || layer % step == number * step / max(1, series.count) {
                guard let value, value.isFinite else { continue }
                drawing.mark(
                    line.shape, x(Double(layer)), y(value * factor), "f-\(line.color) mark")
            }
        }
        let half = (right - left - 16) / Double(max(1, layers - 1)) / 2
        for layer in 0..<layers {
            let lines = series.map {
                "\($0.name): " + format(layer < $0.values.count ? $0.values[layer] : nil)
            }
            let start = max(left, x(Double(layer)) - half)
            drawing.rect(
                start, top, min(right, x(Double(layer)) + half) - start, bottom - top, "hit",
                tip: "layer \(layer)\n" + lines.joined(separator: "\n"))
        }
        let rows = (0..<layers).map { layer in
            [String(layer)]
                + series.map { format(layer < $0.values.count ? $0.values[layer] : nil) }
        }
        return Chart(
            title: title, summary: summary, height: 218, drawing: drawing,
            table: PageTable(
                caption: "\(title): \(axis)", head: ["layer"] + series.map(\.name), rows: rows))
    }

    /// Layers that get a number.
    static func ticks(_ layers: Int) -> [Int] {
        guard layers > 1 else { return layers == 1 ? [0] : [] }
        let step = [1, 2, 4, 5, 8, 10, 16, 20, 32].first { layers / $0 <= 8 } ?? 50
        var ticks = Array(stride(from: 0, to: layers, by: step))
        // The last layer is worth a number if there is room for it.
        if let last = ticks.last, last != layers - 1 {
            if Double(layers - 1 - last) < Double(step) * 0.6 { ticks.removeLast() }
            ticks.append(layers - 1)
        }
        return ticks
    }
}
