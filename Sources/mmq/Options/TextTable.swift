import Foundation
import MMQBase

/// Columns of text for stdout, each as wide as its widest cell, aligned to the right.
struct TextTable {
    private var rows: [[String]]

    /// A table with a head.
    init(_ head: [String]) { rows = [head] }

    /// Adds a row. What a terminal would obey is escaped, line ends too: a word of a vocabulary that is
    /// one stays in its cell.
    mutating func add(_ row: [String]) { rows.append(row.map { shown($0, lines: false) }) }

    /// The lines.
    var text: String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let line = row.enumerated().map { column, cell in
                String(repeating: " ", count: widths[column] - cell.count) + cell
            }.joined(separator: "  ")
            // Cells at the end may be empty.
            return String(line.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    /// A number with `digits` places; `-` for none.
    static func number(_ value: Double?, _ digits: Int = 4) -> String {
        guard let value else { return "-" }
        return value.formatted(
            .number.precision(.fractionLength(digits)).grouping(.never)
                .locale(.init(identifier: "en_US_POSIX")))
    }

    /// A share in per cent.
    static func percent(_ value: Double?, _ digits: Int = 2) -> String {
        number(value.map { $0 * 100 }, digits)
    }
}
