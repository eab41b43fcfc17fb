/// Numbers in rows and columns, each in a field that is the darker the farther it is below 0: to be
/// read without the colour, since every field says its number.
struct HeatMap {
    var title: String
    var summary: String
    /// What rows and columns are, beside their names.
    var axes: (rows: String, columns: String)
    var rows: [String]
    var columns: [String]
    /// [rows][columns], in the unit of the texts; nil where there is none.
    var values: [[Double?]]
    /// What the fields say.
    var texts: [[String]]
    /// Fields with a frame, [row, column]: a domain's own.
    var framed: (Int, Int) -> Bool
    /// What stands right of each row, under the last column's name, without a field.
    var specific: [String]
    var table: PageTable

    var chart: Chart {
        let (left, top, rowHeight) = (64.0, 42.0, 30.0)
        let width = (356 - left) / Double(max(1, columns.count))
        let greatest = max(1e-9, values.joined().compactMap { $0.map { max(0, -$0) } }.max() ?? 0)
        var drawing = SVGDrawing()
        drawing.text(axes.columns, 356, 11, "end axis")
        drawing.text(axes.rows, 2, 28, "axis")
        for (place, name) in columns.enumerated() {
            drawing.text(name, left + (Double(place) + 0.5) * width, 28, "mid name")
        }
        for (line, name) in rows.enumerated() {
            let y = top + Double(line) * rowHeight
            drawing.text(name, 2, y + rowHeight / 2 + 2, "name")
            for place in columns.indices {
                let x = left + Double(place) * width
                guard let value = values[line][place] else {
                    let text = place == columns.count - 1 ? specific[line] : "–"
                    drawing.text(text, x + width / 2, y + rowHeight / 2 + 2, "mid num")
                    continue
                }
                drawing.rect(
                    x + 1, y, width - 2, rowHeight - 2, "f-c1",
                    opacity: 0.55 * max(0, -value) / greatest,
                    tip: "\(name), \(columns[place]): \(texts[line][place])")
                if framed(line, place) {
                    drawing.rect(x + 2, y + 1, width - 4, rowHeight - 4, "s-c1 frame")
                }
                drawing.text(
                    texts[line][place], x + width / 2, y + rowHeight / 2 + 2, "mid value")
            }
        }
        return Chart(
            title: title, summary: summary, height: top + Double(rows.count) * rowHeight + 8,
            drawing: drawing, table: table)
    }
}
