import MMQBase
import MMQFormats

/// PMC-VQA: `med/<split>.csv`, pictures in `med/figures` or `med/images`.
///
/// The official code reads the same file twice and shuffles both copies together; of each picture
/// the first row in that order counts.
struct MedicalTable: BenchTable {
    private let table: CSVFile
    private let order: [Int32]
    private let folder: String
    private let figure: Int
    private let question: Int
    private let answer: Int
    private let label: Int
    private let choices: [(name: String, column: Int)]
    private let last = LastRow<[CSVFile.Cell]>()

    var files: [MappedFile] { [table.file] }
    var count: Int { order.count }

    init(bench: String, split: String) throws {
        folder = "\(bench)/med"
        table = try CSVFile(path: "\(folder)/\(split).csv")
        figure = try table.column("Figure_path")
        question = try table.column("Question")
        answer = try table.column("Answer")
        label = try table.column("Answer_label")
        choices = try ["A", "B", "C", "D"].map { [table] in
            ("Choice \($0)", try table.column("Choice \($0)"))
        }
        order = SampleOrder.pandas(count: 2 * table.count)
    }

    private func row(at place: Int) -> Int { Int(order[place]) % table.count }

    private func cells(_ row: Int) throws -> [CSVFile.Cell] {
        try last.value(of: row) { try table.row(row) }
    }

    func pictureKey(at place: Int) throws -> String? { try cells(row(at: place))[figure].printed }

    func pictures(at place: Int) throws -> [[String]] {
        let name = try cells(row(at: place))[figure].printed
        return [["\(folder)/figures/\(name)", "\(folder)/images/\(name)"]]
    }

    func content(at place: Int, isWhole: Bool) throws -> BenchContent {
        let row = row(at: place)
        let cells = try cells(row)
        let letter = cells[label].printed
        let name = cells[figure].printed
        let isLetter = ["A", "B", "C", "D"].contains(letter)
        // Which option an answer resembles most is told from their texts.
        var attributes = Dictionary(
            choices.map { ($0.name, cells[$0.column].printed) }, uniquingKeysWith: { $1 })
        // `PMC1064097_F1.jpg` is a figure of the article PMC1064097.
        if name.hasPrefix("PMC"), let end = name.firstIndex(of: "_") {
            attributes["article"] = String(name[..<end])
        }
        return BenchContent(
            index: row, question: cells[question].printed,
            options: "[" + choices.map { cells[$0.column].repr }.joined(separator: ", ") + "]",
            answer: .string(isLetter ? letter : cells[answer].printed),
            attributes: attributes,
            pictures: try pictures(at: place))
    }
}
