/// Values layer by layer, or along something else.
struct LineChart {
    /// What lines run along.
    struct Axis {
        /// Its name.
        var name: String
        /// What is written at each place.
        var labels: [String]
        /// Where the places lie, ascending; at equal distances if nil.
        var places: [Double]?

        /// Layers from 0.
        static func layers(_ count: Int) -> Axis {
            Axis(name: "layer", labels: (0..<count).map(String.init))
        }
    }

    /// One line.
    struct Series {
        /// Its name, in tips and in the table.
        var name: String
        /// Its colour: `c0`, `c1`, ... of the style.
        var color: String
        /// Its marks.
        var shape: Int
        /// One value per place; nil breaks the line.
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
    /// What the lines run along; layers if nil.
    var along: Axis?

    var chart: Chart {
        let count = series.map(\.values.count).max() ?? 0
        let along = along ?? .layers(count)
        let places = along.places ?? (0..<count).map(Double.init)
        let (left, right, top, bottom) = (46.0, 350.0, 24.0, 186.0)
        let factor = isShare ? 100.0 : 1
        let values = series.flatMap { $0.values.compactMap { $0.map { $0 * factor } } } + includes
        let y = ChartScale(values, from: bottom, to: top, most: isShare ? 100 : nil)
        let x = ChartScale(
            low: places.first ?? 0, high: places.last ?? 1, from: left + 8, to: right - 8)
        var drawing = SVGDrawing()
        drawing.text(axis, 2, 11, "axis")
        let (ticks, digits) = y.ticks()
        for tick in ticks {
            drawing.line(left, y(tick), right, y(tick), "grid")
            drawing.text(PageText.number(tick, digits), left - 6, y(tick) + 3.5, "end num")
        }
        for place in labelled(along, places, x) {
            drawing.text(along.labels[place], x(places[place]), bottom + 15, "mid num")
        }
        drawing.text(along.name, right, bottom + 29, "end axis")
        for (number, line) in series.enumerated() {
            var run: [(Double, Double)] = []
            var runs: [[(Double, Double)]] = []
            for (place, value) in line.values.enumerated() {
                if let value, value.isFinite {
                    run.append((x(places[place]), y(value * factor)))
                } else {
                    runs.append(run)
                    run = []
                }
            }
            runs.append(run)
            let style = "line s-\(line.color)" + (line.isDashed ? " dashed" : "")
            for run in runs { drawing.polyline(run, style) }
            // Marks on few layers, each line on others, so that equal lines show both.
            let step = max(1, count / 3)
            for (place, value) in line.values.enumerated()
            where self.along != nil || count <= 8
                || place % step == number * step / max(1, series.count)
            {
                guard let value, value.isFinite else { continue }
                let height = y(value * factor)
                // Larger below marks that would hide it.
                let above = series[(number + 1)...].count { other in
                    let value = place < other.values.count ? other.values[place] : nil
                    return value.map { abs(y($0 * factor) - height) < 2 } ?? false
                }
                drawing.mark(
                    line.shape, x(places[place]), height, "f-\(line.color) mark",
                    size: self.along == nil ? 3 : 3 + 1.2 * Double(above))
            }
        }
        func written(_ place: Int) -> [String] {
            series.map { format(place < $0.values.count ? $0.values[place] : nil) }
        }
        for place in 0..<count {
            let lines = zip(series, written(place)).map { "\($0.name): \($1)" }
            // Up to the middle between neighbours.
            let start = place > 0 ? x((places[place - 1] + places[place]) / 2) : left
            let end = place + 1 < count ? x((places[place] + places[place + 1]) / 2) : right
            drawing.rect(
                start, top, end - start, bottom - top, "hit",
                tip: "\(along.name) \(along.labels[place])\n" + lines.joined(separator: "\n"))
        }
        return Chart(
            title: title, summary: summary, height: 218, drawing: drawing,
            table: PageTable(
                caption: "\(title): \(axis)", head: [along.name] + series.map(\.name),
                rows: (0..<count).map { [along.labels[$0]] + written($0) }))
    }

    /// The places whose labels have room; the last one always.
    private func labelled(_ axis: Axis, _ places: [Double], _ x: ChartScale) -> [Int] {
        guard self.along != nil else { return Self.ticks(places.count) }
        func width(_ place: Int) -> Double { Double(axis.labels[place].count) * 6 + 6 }
        var (shown, start) = ([Int](), Double.infinity)
        for place in places.indices.reversed() {
            guard x(places[place]) + width(place) / 2 <= start else { continue }
            shown.append(place)
            start = x(places[place]) - width(place) / 2
        }
        return shown.reversed()
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
