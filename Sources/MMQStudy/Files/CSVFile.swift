import Foundation
import MMQBase

/// A CSV file as pandas' `read_csv` with default options reads it, cell by cell.
///
/// The official code reads PMC-VQA through pandas and prints cells into the prompt, so its rules
/// are part of the prompt: a quoted newline is text, `None` or `NA` is a missing cell (printed
/// `nan`), and a column that holds nothing but numbers holds numbers. Ordinary CSV packages know
/// nothing of the last two and copy the whole file, hence this reader. It keeps where each row
/// begins and reads the row again when it is asked for.
struct CSVFile {
    /// What pandas makes of a cell.
    enum Cell: Equatable {
        case missing
        case text(String)
        case integer(String)
        case number(Double)
        case bool(Bool)
    }

    let file: MappedFile
    let header: [String]
    /// Where each row begins.
    private let rows: [Int]
    /// For each column and block of rows what its cells are.
    private let kinds: [[Kind]]
    private let blockRows: Int

    var count: Int { rows.count }

    /// PMC-VQA has ten.
    private static let mostColumns = 100

    /// Reads the structure of a file.
    init(path: String) throws {
        let file = try MappedFile(path: path)
        var scanner = CSVScanner(file)
        guard let head = try scanner.next() else {
            throw InputError(.badInput, file: path, "no header line")
        }
        let header = try head.map { cell in
            guard let text = strictUTF8(cell) else {
                throw InputError(.badInput, file: path, offset: 0, "a header that is not UTF-8")
            }
            return text
        }
        // Every column is looked at in every row, cells that a row lacks too.
        guard header.count <= Self.mostColumns else {
            throw InputError(
                .tooLarge, file: path, item: "header",
                expected: "at most \(Self.mostColumns) columns",
                found: "\(header.count)")
        }
        // pandas guesses types for so many rows at a time (its `low_memory`), a power of two.
        var blockRows = 1
        while blockRows * 2 < (1 << 20) / max(1, header.count) { blockRows *= 2 }

        var rows: [Int] = []
        var guesses = Array(repeating: KindGuess(), count: header.count)
        var kinds = Array(repeating: [Kind](), count: header.count)
        while let row = try scanner.next() {
            guard row.count <= header.count else {
                throw InputError(
                    .badInput, file: path, offset: scanner.rowStart,
                    "\(row.count) cells in a row, the header has \(header.count)")
            }
            rows.append(scanner.rowStart)
            for column in header.indices {
                if column < row.count {
                    guesses[column].see(row[column])
                } else {
                    guesses[column].see([])
                }
            }
            if rows.count % blockRows == 0 {
                for column in header.indices { kinds[column].append(guesses[column].kind) }
                guesses = Array(repeating: KindGuess(), count: header.count)
            }
        }
        if rows.count % blockRows != 0 {
            for column in header.indices { kinds[column].append(guesses[column].kind) }
        }
        for column in header.indices where Set(kinds[column]).count > 1 {
            // Blocks of different numbers become one column of floats; anything else stays apart.
            if kinds[column].allSatisfy({ [.integer, .integerWithGaps, .number].contains($0) }) {
                kinds[column] = kinds[column].map { _ in .number }
            }
        }
        self.file = file
        self.header = header
        self.rows = rows
        self.kinds = kinds
        self.blockRows = blockRows
    }

    /// The column called `name`.
    func column(_ name: String) throws -> Int {
        guard let column = header.firstIndex(of: name) else {
            let names = header.joined(separator: ", ")
            throw InputError(
                .badInput, file: file.path, item: name, "no such column, the header has \(names)")
        }
        return column
    }

    /// The cells of a row.
    func row(_ number: Int) throws -> [Cell] {
        var scanner = CSVScanner(file, at: rows[number])
        let raw = try scanner.next() ?? []
        return try header.indices.map { column in
            let kind = kinds[column][number / blockRows]
            let cell = column < raw.count ? raw[column] : []
            guard kind == .verbatim || !isMissing(cell) else { return .missing }
            guard let text = strictUTF8(cell) else {
                throw InputError(
                    .badInput, file: file.path, item: header[column], offset: rows[number],
                    "a cell that is not UTF-8")
            }
            switch kind {
            case .text, .verbatim: return .text(text)
            case .integer: return integer(cell).map(Cell.integer) ?? .text(text)
            case .integerWithGaps:
                return integer(cell).flatMap { Int64($0) }.map { .number(Double($0)) }
                    ?? .text(text)
            case .number: return decimal(cell).map(Cell.number) ?? .text(text)
            case .bool: return .bool(text.lowercased() == "true")
            }
        }
    }

    /// What a column's cells are taken for. `verbatim` is text in which not even missing cells are
    /// told from others.
    private enum Kind { case text, verbatim, integer, integerWithGaps, number, bool }

    /// What a column's cells can still be taken for.
    private struct KindGuess {
        private enum Integers { case fit, tooLarge, other }

        private var signed = Integers.fit
        private var unsigned = Integers.fit
        private var number = true
        private var bool = true
        private var missing = false
        private var present = false
        private var negative = false
        private var whole = true

        mutating func see(_ cell: [UInt8]) {
            guard whole || signed != .other || unsigned != .other || number || bool else {
                return
            }
            if isMissing(cell) {
                missing = true
                return
            }
            present = true
            let found = integer(cell)
            if found == nil { whole = false }
            if signed == .fit {
                signed =
                    found == nil ? .other : Int64(found ?? "") == nil ? .tooLarge : .fit
            }
            if unsigned == .fit {
                if found?.hasPrefix("-") == true {
                    negative = true
                    if Int64(found ?? "") == nil { unsigned = .tooLarge }
                } else {
                    unsigned = found == nil ? .other : UInt64(found ?? "") == nil ? .tooLarge : .fit
                }
            }
            if number, decimal(cell) == nil { number = false }
            if bool, !boolWords.contains(cell) { bool = false }
        }

        var kind: Kind {
            if !present { return .number }
            switch (signed, unsigned) {
            // A column of integers with a gap is a column of floats.
            case (.fit, _): return missing ? .integerWithGaps : .integer
            // Past 63 bits pandas tries unsigned numbers, which allow neither gaps nor signs, then
            // Python's own; if those fail it gives the column up.
            case (.tooLarge, .fit): return missing || negative ? .verbatim : .integer
            case (.tooLarge, .tooLarge): return whole ? .integer : .verbatim
            default: return number ? .number : bool ? .bool : .text
            }
        }
    }
}

extension CSVFile.Cell {
    /// The cell as Python's `str` prints it.
    var printed: String {
        switch self {
        case .missing: "nan"
        case .text(let text), .integer(let text): text
        case .number(let number): pythonRepr(number)
        case .bool(let flag): flag ? "True" : "False"
        }
    }

    /// The cell as Python prints it within a list.
    var repr: String {
        if case .text(let text) = self { return pythonRepr(text) }
        return printed
    }
}

/// Splits a CSV file into rows of raw cells, with the states of pandas' tokenizer.
private struct CSVScanner {
    private let file: MappedFile
    private let bytes: UnsafeRawBufferPointer
    private var at: Int
    /// Where the row that was read last begins.
    private(set) var rowStart = 0

    init(_ file: MappedFile, at offset: Int = 0) {
        self.file = file
        bytes = file.bytes
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        at = offset == 0 && bytes.count >= 3 && bytes.prefix(3).elementsEqual(mark) ? 3 : offset
    }

    private enum State { case startField, inField, quoted, quoteInQuoted }

    /// The next row; nil at the end. Empty lines and lines of blanks are no rows.
    mutating func next() throws -> [[UInt8]]? {
        skipBlankLines()
        guard at < bytes.count else { return nil }
        rowStart = at
        var cells: [[UInt8]] = []
        var cell: [UInt8] = []
        var state = State.startField
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            switch (state, byte) {
            case (.quoted, UInt8(ascii: "\"")): state = .quoteInQuoted
            case (.quoted, _): cell.append(byte)
            case (.quoteInQuoted, UInt8(ascii: "\"")):
                cell.append(byte)
                state = .quoted
            case (_, UInt8(ascii: "\n")):
                return cells + [cell]
            case (_, UInt8(ascii: "\r")):
                if at < bytes.count, bytes[at] == UInt8(ascii: "\n") { at += 1 }
                return cells + [cell]
            case (_, UInt8(ascii: ",")):
                cells.append(cell)
                cell.removeAll(keepingCapacity: true)
                state = .startField
            case (.startField, UInt8(ascii: "\"")): state = .quoted
            default:
                cell.append(byte)
                state = .inField
            }
        }
        guard state != .quoted else {
            throw InputError(
                .badInput, file: file.path, offset: rowStart, "a quoted cell without an end")
        }
        return cells + [cell]
    }

    private mutating func skipBlankLines() {
        var look = at
        while look < bytes.count {
            switch bytes[look] {
            case 0x20, 0x09: look += 1
            case 0x0a, 0x0d:
                look += 1
                at = look
            default: return
            }
        }
        at = bytes.count
    }
}

/// The words that pandas takes for a missing cell.
private let missingWords: Set<[UInt8]> = Set(
    [
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
        "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    ].map { Array($0.utf8) })

private let boolWords: Set<[UInt8]> = Set(
    ["True", "TRUE", "true", "False", "FALSE", "false"].map { Array($0.utf8) })

private func isMissing(_ cell: [UInt8]) -> Bool {
    cell.count <= 8 && missingWords.contains(cell)
}

/// The integer in a cell in its plain spelling, of any size; nil if the cell is none.
private func integer(_ cell: [UInt8]) -> String? {
    var part = cell[...]
    while let first = part.first, isSpace(first) { part.removeFirst() }
    while let last = part.last, isSpace(last) { part.removeLast() }
    var sign = ""
    if let first = part.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
        sign = first == UInt8(ascii: "-") ? "-" : ""
        part.removeFirst()
    }
    guard !part.isEmpty, part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    while part.count > 1, part.first == 0x30 { part.removeFirst() }
    let digits = String(decoding: part, as: UTF8.self)
    return digits == "0" ? digits : sign + digits
}

/// The number in a cell; nil if it is none.
private func decimal(_ cell: [UInt8]) -> Double? {
    var part = cell[...]
    while let first = part.first, isSpace(first) { part.removeFirst() }
    while let last = part.last, isSpace(last) { part.removeLast() }
    let text = String(decoding: part, as: UTF8.self)
    switch text.lowercased() {
    case "inf", "+inf", "infinity", "+infinity": return .infinity
    case "-inf", "-infinity": return -.infinity
    default: break
    }
    // Swift would also take hexadecimal floats and NaN with a payload.
    guard !part.isEmpty,
        part.allSatisfy({ (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) })
    else { return nil }
    return Double(text)
}

private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
