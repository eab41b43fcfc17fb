/// A number among others of its kind, row by row: hollow marks for those, a full one for the number.
struct StripChart {
    /// One row.
    struct Row {
        var name: String
        /// What stands out.
        var value: Double
        /// What it stands out from.
        var others: [Double]
        /// What stands right of it, column by column.
        var cells: [String]
    }

    var title: String
    var summary: String
    /// Heads of the columns right of the plot.
    var heads: [String]
    /// Numbers are shares, shown in per cent.
    var rows: [Row]
    var color: String
    var table: PageTable

    var chart: Chart {
        let (left, top, rowHeight, columnWidth) = (86.0, 30.0, 25.0, 44.0)
        let right = 356 - Double(heads.count) * columnWidth - 8
        let values = rows.flatMap { [$0.value] + $0.others }.map { $0 * 100 } + [0]
        let x = ChartScale(values, from: left, to: right, ticks: 3, least: 5)
        let bottom = top + Double(rows.count) * rowHeight
        var drawing = SVGDrawing()
        let (ticks, places) = x.ticks(3)
        for tick in ticks {
            drawing.line(x(tick), top - 2, x(tick), bottom, "grid")
            drawing.text(PageText.number(tick, places), x(tick), bottom + 14, "mid num")
        }
        drawing.line(x(0), top - 4, x(0), bottom, "cut")
        for (column, head) in heads.enumerated() {
            drawing.text(head, right + 8 + Double(column + 1) * columnWidth, 14, "end axis")
        }
        for (number, row) in rows.enumerated() {
            let y = top + (Double(number) + 0.5) * rowHeight
            drawing.text(ForestChart.shortened(row.name), 0, y + 4, "name")
            for other in row.others { drawing.mark(0, x(other * 100), y, "s-\(color) hollow") }
            drawing.mark(3, x(row.value * 100), y, "f-\(color) mark", size: 5)
            for (column, cell) in row.cells.enumerated() {
                drawing.text(
                    cell, right + 8 + Double(column + 1) * columnWidth, y + 4,
                    column == 0 ? "end value" : "end num")
            }
        }
        return Chart(
            title: title, summary: summary, height: bottom + 20, drawing: drawing, table: table)
    }
}
