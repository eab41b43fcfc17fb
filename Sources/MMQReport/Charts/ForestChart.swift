import MMQStudy

/// Numbers with their intervals, or among others of their kind, one below the other.
struct ForestChart {
    /// One row.
    struct Row {
        /// Its name.
        var name: String
        /// The number; nil where `note` says why there is none.
        var value: Double?
        /// Its interval.
        var interval: Interval?
        /// Numbers that it stands among: hollow marks.
        var others: [Double] = []
        /// What stands right of it, column by column.
        var cells: [String] = []
        /// Drawn full; else hollow.
        var isFull = true
        /// In place of a number.
        var note: String?
    }

    var title: String
    var summary: String
    /// Heads of the columns right of the plot.
    var heads: [String]
    var rows: [Row]
    /// Where a line is drawn from top to bottom.
    var baseline: Double?
    /// Its colour in the style. Numbers are shares, shown in per cent.
    var color = "c0"
    var table: PageTable
    /// Numbers that the axis shows in any case.
    var includes: [Double] = []
    /// The least that the axis spans.
    var span = 0.1

    var chart: Chart {
        let columns = heads.count
        let left = 86.0
        let columnWidth = 44.0
        let right = 356 - Double(columns) * columnWidth - 8
        let top = 30.0
        let rowHeight = 25.0
        let values =
            rows.flatMap { row in
                [row.value, row.interval?.low, row.interval?.high].compactMap { $0 } + row.others
            } + [baseline].compactMap { $0 } + includes
        let x = ChartScale(
            values.map { $0 * 100 }, from: left, to: right, ticks: 3, least: span * 100, most: 100)
        let bottom = top + Double(rows.count) * rowHeight
        var drawing = SVGDrawing()
        let (ticks, places) = x.ticks(3)
        for tick in ticks {
            drawing.line(x(tick), top - 2, x(tick), bottom, "grid")
            drawing.text(PageText.number(tick, places), x(tick), bottom + 14, "mid num")
        }
        if let baseline {
            drawing.line(x(baseline * 100), top - 4, x(baseline * 100), bottom, "cut")
        }
        for (column, head) in heads.enumerated() {
            drawing.text(head, right + 8 + Double(column + 1) * columnWidth, 14, "end axis")
        }
        for (number, row) in rows.enumerated() {
            let y = top + (Double(number) + 0.5) * rowHeight
            drawing.text(Self.shortened(row.name), 0, y + 4, "name")
            guard let value = row.value else {
                drawing.text(row.note ?? "no answers", left, y + 4, "note")
                continue
            }
            if let interval = row.interval {
                drawing.line(
                    x(interval.low * 100), y, x(interval.high * 100), y, "line s-\(color)")
            }
            for other in row.others { drawing.mark(0, x(other * 100), y, "s-\(color) hollow") }
            // Of another shape than those it stands among.
            let (shape, size) = row.others.isEmpty ? (0, 4.0) : (3, 5.0)
            drawing.mark(
                shape, x(value * 100), y, row.isFull ? "f-\(color) mark" : "s-\(color) hollow",
                size: size)
            for (column, cell) in row.cells.enumerated() {
                drawing.text(
                    cell, right + 8 + Double(column + 1) * columnWidth, y + 4,
                    column == 0 ? "end value" : "end num")
            }
        }
        return Chart(
            title: title, summary: summary, height: bottom + 20, drawing: drawing, table: table)
    }

    /// The drawing has room for fourteen letters, and names differ at both ends; the table has the
    /// whole name.
    static func shortened(_ name: String) -> String {
        name.count > 14 ? name.prefix(6) + "…" + name.suffix(7) : name
    }
}
