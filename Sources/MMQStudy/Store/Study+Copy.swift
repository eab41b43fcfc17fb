import Foundation
import GRDB
import MMQBase

/// Where an item's rows lie: a row that says how it was made, and those that hang on it.
private struct ItemTables {
    let head: String
    /// Column → value that picks the head.
    let key: [(column: String, value: String)]
    /// Table → the column that names the head.
    let children: [(table: String, parent: String)]

    init(_ item: StudyItem) {
        let place = [("domain", item.domain.rawValue), ("split", item.split)]
        switch item.kind {
        case .counts:
            head = "pass"
            key = place + [("form", item.setting)]
            children = ["count", "block", "block_count", "activation_sum", "moment"].map {
                ($0, "pass")
            }
        case .answers:
            head = "answer_set"
            key = place + [("setting", item.setting)]
            children = [("answer", "answer_set")]
        case .lens, .deviation:
            head = "lens_pass"
            key = place + [("setting", item.setting), ("kind", item.kind.rawValue)]
            children = [("lens_sample", "pass"), ("deviation_sample", "pass")]
        }
    }

    var condition: String { key.map { "\($0.column) = ?" }.joined(separator: " AND ") }
    var arguments: StatementArguments { StatementArguments(key.map(\.value)) }

    /// The columns of a table but one, in their order.
    static func columns(_ db: Database, _ table: String, but left: String) throws -> String {
        try db.columns(in: table).map(\.name).filter { $0 != left }
            .map { "\"\($0)\"" }.joined(separator: ", ")
    }
}

extension Study {
    /// Becomes a study of another one's model.
    func copySettings(from other: Study) throws {
        try copying(other) { db in
            try db.execute(sql: "INSERT INTO setting SELECT * FROM source.setting")
            try db.execute(sql: "INSERT INTO module SELECT * FROM source.module ORDER BY ordinal")
        }
    }

    /// Adds another study's rows of an item to those that are there.
    func copy(_ item: StudyItem, from other: Study) throws {
        let tables = ItemTables(item)
        try copying(other) { db in
            func id(_ schema: String) throws -> Int64? {
                try Int64.fetchOne(
                    db, sql: "SELECT id FROM \(schema).\(tables.head) WHERE \(tables.condition)",
                    arguments: tables.arguments)
            }
            guard let theirs = try id("source") else { return }
            if try id("main") == nil {
                let columns = try ItemTables.columns(db, tables.head, but: "id")
                try db.execute(
                    sql: """
                        INSERT INTO \(tables.head) (\(columns))
                        SELECT \(columns) FROM source.\(tables.head) WHERE id = ?
                        """, arguments: [theirs])
            }
            guard let mine = try id("main") else { return }
            for (table, parent) in tables.children {
                let columns = try ItemTables.columns(db, table, but: parent)
                try db.execute(
                    sql: """
                        INSERT INTO \(table) (\(parent), \(columns))
                        SELECT ?, \(columns) FROM source.\(table) WHERE \(parent) = ?
                        """, arguments: [mine, theirs])
            }
        }
    }

    /// The neuron sets as rows of text, to be compared.
    func identificationRows() throws -> [String] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT identification.*, neuron_set.domain AS of_domain, neurons
                    FROM identification LEFT JOIN neuron_set ON identification = id
                    ORDER BY name, module, of_domain
                    """
            ).map { row in row.dropFirst().map { "\($0.0)=\($0.1)" }.joined(separator: "|") }
        }
    }

    /// Takes over another study's neuron sets.
    func copyIdentifications(from other: Study) throws {
        try copying(other) { db in
            try db.execute(sql: "INSERT INTO identification SELECT * FROM source.identification")
            try db.execute(sql: "INSERT INTO neuron_set SELECT * FROM source.neuron_set")
        }
    }

    /// A short text that changes with what the study holds of an item.
    func digest(of item: StudyItem) throws -> String {
        let tables = ItemTables(item)
        return try read { db in
            guard
                let id = try Int64.fetchOne(
                    db, sql: "SELECT id FROM \(tables.head) WHERE \(tables.condition)",
                    arguments: tables.arguments)
            else { return "" }
            var hash = StableHash()
            for (table, parent) in tables.children {
                let columns = try ItemTables.columns(db, table, but: parent)
                let keys = try db.primaryKey(table).columns.joined(separator: ", ")
                // Texts as bytes: one may hold a NUL, at which a string would end.
                let cursor = try Row.fetchCursor(
                    db,
                    sql: """
                        SELECT \(columns.split(separator: ", ").map { "CAST(\($0) AS BLOB)" }.joined(separator: ", "))
                        FROM \(table) WHERE \(parent) = ? ORDER BY \(keys)
                        """, arguments: [id])
                while let row = try cursor.next() {
                    for (_, value) in row {
                        guard case .blob(let bytes) = value.storage else {
                            hash.add(littleEndian: UInt64.max)
                            continue
                        }
                        hash.add(littleEndian: UInt64(bytes.count))
                        bytes.withUnsafeBytes { hash.add($0) }
                    }
                }
            }
            return String(hash.value, radix: 16)
        }
    }
}
