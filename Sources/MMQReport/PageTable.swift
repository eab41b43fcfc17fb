/// A table of the page.
struct PageTable {
    /// What it holds.
    var caption: String
    /// The head; the first `labels` columns hold words, the others numbers.
    var head: [String]
    /// How many columns hold words.
    var labels = 1
    /// The cells.
    var rows: [[String]]

    /// The table in a box that scrolls on narrow screens.
    var markup: Markup {
        element(
            .div,
            ["class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption]
        ) {
            element(.table) {
                element(.caption) { caption }
                element(.thead) {
                    element(.tr) {
                        for (column, cell) in head.enumerated() {
                            element(.th, ["scope": "col", "class": style(column)]) { cell }
                        }
                    }
                }
                element(.tbody) {
                    for row in rows {
                        element(.tr) {
                            for (column, cell) in row.enumerated() { bodyCell(column, cell) }
                        }
                    }
                }
            }
        }
    }

    private func bodyCell(_ column: Int, _ cell: String) -> Markup {
        let isHead = column == 0
        return element(
            isHead ? .th : .td, ["scope": isHead ? "row" : nil, "class": style(column)]
        ) { cell }
    }

    private func style(_ column: Int) -> String? { column < labels ? "w" : nil }
}
