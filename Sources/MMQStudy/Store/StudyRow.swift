import Foundation
import GRDB

/// What a table of a study keeps in a row: its properties are the columns, `camelCase` there and
/// `snake_case` here.
protocol StudyRow: Codable {
    /// The table.
    static var table: String { get }
    /// What is wrong with the numbers of a row that no run would write; nil if nothing is.
    var damage: String? { get }
}

extension StudyRow {
    var damage: String? { nil }

    /// The row as GRDB reads and writes it.
    typealias Record = StudyRecord<Self>

    var record: StudyRecord<Self> { StudyRecord(row: self) }

    /// The rows of a query. Its statement is kept: runs ask the same again and again.
    static func all(
        _ db: Database, _ sql: String, _ arguments: StatementArguments = []
    ) throws -> [Self] {
        try Record.fetchAll(db.cachedStatement(sql: sql), arguments: arguments).map(\.row)
    }

    /// The first row of a query, likewise.
    static func first(
        _ db: Database, _ sql: String, _ arguments: StatementArguments = []
    ) throws -> Self? {
        try Record.fetchOne(db.cachedStatement(sql: sql), arguments: arguments)?.row
    }

    /// Puts the row into its table, in place of the one that has its key. (GRDB's own `upsert` spells
    /// its statement out for every row, and reads the row back.)
    func put(_ db: Database) throws {
        let values = try record.databaseDictionary.sorted { $0.key < $1.key }
        let columns = values.map { "\"\($0.key)\"" }
        let places = values.map { _ in "?" }.joined(separator: ", ")
        let updates = columns.map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
        try db.change(
            "INSERT INTO \(Self.table) (\(columns.joined(separator: ", "))) VALUES (\(places)) "
                + "ON CONFLICT DO UPDATE SET \(updates)",
            StatementArguments(values.map(\.value)))
    }

    /// Names the first of some amounts or places that is negative or beyond what adds up safely.
    func firstBeyond(_ amounts: (String, Int)...) -> String? {
        amounts.first { !(0...StudyLimit.amount).contains($0.1) }
            .map { "\($0.0) is \($0.1)" }
    }
}

extension Database {
    /// Changes rows, by a statement that is kept.
    func change(_ sql: String, _ arguments: StatementArguments) throws {
        try cachedStatement(sql: sql).execute(arguments: arguments)
    }
}

/// What numbers in a study may be.
enum StudyLimit {
    /// Amounts (of tokens, of samples) and places: sums of many do not overflow.
    static let amount = 1 << 53
    /// Neurons of a module in all its layers.
    static let neurons = 1 << 28
    /// Layers of a module: lists are made of this size. As many as a model may have.
    static let layers = 4096
}

/// A row that is not as runs write it. It becomes an `InputError` where the file's name is known.
struct StudyDamage: Error {
    let table: String
    let problem: String
}

/// The one way between rows and values: every value is read by a decoding that throws, with the
/// type that its column must have.
struct StudyRecord<Row: StudyRow>: Codable, FetchableRecord, PersistableRecord {
    let row: Row

    static var databaseTableName: String { Row.table }
    static var databaseColumnDecodingStrategy: DatabaseColumnDecodingStrategy {
        .convertFromSnakeCase
    }
    static var databaseColumnEncodingStrategy: DatabaseColumnEncodingStrategy {
        .convertToSnakeCase
    }

    /// Lists and dictionaries are JSON with sorted keys: equal values give equal text.
    static func databaseJSONEncoder(for column: String) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    init(row: Row) { self.row = row }

    init(row: GRDB.Row) throws {
        do {
            // A copy: read from a statement, SQLite would turn any text into a number.
            self = try FetchableRecordDecoder().decode(Self.self, from: row.copy())
        } catch {
            throw StudyDamage(table: Row.table, problem: Self.words(error))
        }
        if let problem = self.row.damage {
            throw StudyDamage(table: Row.table, problem: problem)
        }
    }

    init(from decoder: any Decoder) throws { row = try Row(from: decoder) }

    func encode(to encoder: any Encoder) throws { try row.encode(to: encoder) }

    /// GRDB tells the whole row, blobs and all: its first words are enough.
    private static func words(_ error: any Error) -> String {
        let text = "\(error)"
        let words = text.components(separatedBy: " - column").first ?? text
        let column =
            text.components(separatedBy: "column: \"").dropFirst().first?
            .components(separatedBy: "\"").first
        return (column.map { "\($0): " } ?? "") + String(words.prefix(160))
    }
}

/// Numbers as they lie in memory: every platform that mmq runs on is little-endian.
struct Blob: Codable, Equatable, DatabaseValueConvertible {
    let bytes: Data

    init<Number: BitwiseCopyable>(_ numbers: [Number]) {
        bytes = numbers.withUnsafeBytes { Data($0) }
    }

    private init(bytes: Data) { self.bytes = bytes }

    /// The numbers; nil if the bytes are not a whole number of them.
    func numbers<Number: FixedWidthInteger>(_: Number.Type = Number.self) -> [Number]? {
        let size = MemoryLayout<Number>.stride
        guard bytes.count % size == 0 else { return nil }
        var numbers = [Number](repeating: 0, count: bytes.count / size)
        numbers.withUnsafeMutableBytes { _ = bytes.copyBytes(to: $0) }
        return numbers
    }

    /// 64-bit floats; nil if the bytes are not a whole number of them.
    func doubles() -> [Double]? { numbers(UInt64.self)?.map { Double(bitPattern: $0) } }

    var databaseValue: DatabaseValue { bytes.databaseValue }

    static func fromDatabaseValue(_ value: DatabaseValue) -> Blob? {
        guard case .blob(let bytes) = value.storage else { return nil }
        return Blob(bytes: bytes)
    }
}

/// Text that may hold a NUL, which a model can say: it is handed over as bytes, for a string would
/// end there. Statements cast it on the way.
struct TextBytes: Codable, Equatable, DatabaseValueConvertible {
    let text: String

    init(_ text: String) { self.text = text }

    var databaseValue: DatabaseValue { Data(text.utf8).databaseValue }

    static func fromDatabaseValue(_ value: DatabaseValue) -> TextBytes? {
        guard case .blob(let bytes) = value.storage else { return nil }
        return TextBytes(String(decoding: bytes, as: UTF8.self))
    }
}
