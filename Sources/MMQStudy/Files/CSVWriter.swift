import MMQBase

/// Writes a CSV file, RFC 4180 with line feeds; it appears under its name when it is complete.
final class CSVWriter {
    /// A cell.
    enum Cell {
        case text(String)
        case integer(Int)
        /// NaN and infinity are empty, for every reader calls them differently.
        case number(Double)
        case none
    }

    private let output: OutputFile
    private let columns: Int
    private var buffer: [UInt8] = []
    private var written = 0

    init(path: String, columns: [String]) throws {
        output = try OutputFile(path: path)
        self.columns = columns.count
        try add(columns.map { .text($0) })
    }

    /// Adds a row.
    func add(_ cells: [Cell]) throws {
        precondition(cells.count == columns, "a cell for each column")
        for (place, cell) in cells.enumerated() {
            if place > 0 { buffer.append(UInt8(ascii: ",")) }
            switch cell {
            case .text(let text): append(text)
            case .integer(let number): buffer += Array("\(number)".utf8)
            case .number(let number) where number.isFinite: buffer += Array("\(number)".utf8)
            case .number, .none: break
            }
        }
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count > 1 << 20 { try flush() }
    }

    /// Gives the file its name.
    func commit() throws {
        try flush()
        try output.commit()
    }

    /// Removes what was written so far. Does nothing after `commit`.
    func abandon() { output.abandon() }

    private func append(_ text: String) {
        let bytes = Array(text.utf8)
        let special = "\",\n\r".utf8
        guard bytes.contains(where: special.contains) else {
            buffer += bytes
            return
        }
        buffer.append(UInt8(ascii: "\""))
        for byte in bytes {
            if byte == UInt8(ascii: "\"") { buffer.append(byte) }
            buffer.append(byte)
        }
        buffer.append(UInt8(ascii: "\""))
    }

    private func flush() throws {
        try output.write(buffer, at: written)
        written += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }
}
