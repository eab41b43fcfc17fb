import Foundation
import GRDB
import MMQBase
import MMQFormats
import MMQModels
import MMQReport

@testable import MMQStudy

extension Targets {
    private static let wholeStudy = Golden.folder + "/study/whole.sqlite"

    /// What the golden study exports, a file of it damaged, imported into a new study.
    static func importFiles() throws -> Target {
        let folder = try Scratch.makeFolder("export")
        // A copy: a study of an older version is brought up to date where it lies.
        let whole = Scratch.path("whole.sqlite")
        try Scratch.write(Golden.bytes("study/whole.sqlite"), to: whole)
        let files = try StudyExport.write(
            Study(path: whole, access: .reading), to: folder, model: "model")
        let root = folder + "/model"
        let folders = FolderCases()
        try folders.add(folder: root, files: files.map { String($0.dropFirst(root.count + 1)) })
        let path = Scratch.path("imported.sqlite")
        _ = try Study(path: path, access: .writing)
        guard let empty = FileManager.default.contents(atPath: path) else {
            throw CocoaError(.fileReadUnknown)
        }
        let held = Scratch.path("held.sqlite")
        try Scratch.write(Array(empty), to: held)
        let open = try Study(path: held, access: .updating)
        return Target(seeds: { folders.seeds() }) { input in
            guard let first = input.first, let chosen = try folders.place(input) else { return }
            let choice = Int(first) / folders.cases.count
            // Few go into a file, and through whatever commands read; see `damaged`.
            guard takesLongWay(input, share: 32) else {
                return try undone(open) { study in
                    _ = try StudyExport.read([chosen.folder], into: study)
                    try rowReadings[choice % rowReadings.count](study)
                }
            }
            remove(path)
            try Scratch.write(Array(empty), to: path)
            let study = try Study(path: path, access: .updating)
            _ = try StudyExport.read([chosen.folder], into: study)
            // What reads all of it: the export, a comparison, the report, ...
            try read(study, readings.count - 1 - choice % readings.count)
        }
    }

    /// A study with all that commands make, its rows changed as the input says.
    static func study() throws -> Target { try damaged(wholeStudy) }

    /// A study of counts in blocks, with moments and sets, its rows changed likewise.
    static func counts() throws -> Target {
        let model = try ModelFiles.open(folder: Golden.converted("llava-next/hub-f16", .q8_0))
            .open()
        let path = Scratch.path("counted.sqlite")
        try count(nil, [.rs, .com], with: model, into: path)
        let study = try Study(path: path, access: .updating)
        for module in try study.modules() {
            try study.save(study.identify(module: module.name))
        }
        return try damaged(path)
    }

    /// The first byte says how the study is read, the rest how its rows are changed (see `RowDamage`).
    /// Few inputs go through a file and whatever commands read, which takes tenths of a second; the others
    /// change the rows of a study that stays open, are read by what reads those rows, and taken back,
    /// which takes a thirtieth of that.
    private static func damaged(_ whole: String) throws -> Target {
        let damage = try RowDamage(study: whole)
        let path = Scratch.path("study.sqlite")
        // Undamaged it is read: else every input would be refused at the door.
        try damage.apply([], to: path)
        _ = try Study(path: path, access: .reading).passes()
        let held = Scratch.path("held.sqlite")
        try damage.apply([], to: held)
        let study = try Study(path: held, access: .updating)
        return Target {
            damage.seeds()
        } run: { input in
            let choice = Int(input.first ?? 0)
            if takesLongWay(input, share: 64) {
                remove(path)
                try damage.apply(input.dropFirst(), to: path)
                return try read(Study(path: path, access: .reading), choice)
            }
            try undone(study) { study in
                try change(study, damage, input.dropFirst())
                _ = try study.model()
                try rowReadings[choice % rowReadings.count](study)
            }
        }
    }

    /// Changes rows of a study that is open, as the input says.
    private static func change(_ study: Study, _ damage: RowDamage, _ input: ArraySlice<UInt8>)
        throws
    {
        try study.write { db in
            // What it refers to need not be there, as in a damaged file.
            try db.execute(sql: "PRAGMA defer_foreign_keys = ON")
            try damage.apply(input, db)
        }
    }

    private struct Undone: Error {}

    /// Changes and reads a study, and leaves it as it was.
    private static func undone(_ study: Study, _ body: (Study) throws -> Void) throws {
        do {
            try study.atomically {
                try body(study)
                throw Undone()
            }
        } catch is Undone {}
    }

    /// Two shards of a study, one of them with its rows changed, merged.
    static func merge() throws -> Target {
        let model = try ModelFiles.open(folder: Golden.converted("llava-next/hub-f16", .q8_0))
            .open()
        let shards = try [1, 2].map { number in
            let path = Scratch.path("shard-\(number).sqlite")
            remove(path)
            try count(Shard(number, of: 2), [.rs], with: model, into: path)
            return path
        }
        let damage = try RowDamage(study: shards[0])
        let path = Scratch.path("damaged.sqlite")
        let output = Scratch.path("merged.sqlite")
        func merged(_ input: ArraySlice<UInt8>) throws -> Study {
            remove(path)
            remove(output)
            try damage.apply(input, to: path)
            _ = try StudyMerge([path, shards[1]], output: output).run()
            return try Study(path: output, access: .reading)
        }
        _ = try merged([])
        // For the short way: one that can be damaged and mended, and one that only has settings.
        let held = Scratch.path("held.sqlite")
        try damage.apply([], to: held)
        let study = try Study(path: held, access: .updating)
        let empty = Scratch.path("empty.sqlite")
        let target = try Study(path: empty, access: .replacing)
        try target.copySettings(from: Study(path: shards[1], access: .reading))
        let sources = [
            MergeSource(held, study),
            MergeSource(shards[1], try Study(path: shards[1], access: .reading)),
        ]
        let merge = StudyMerge([held, shards[1]], output: empty)
        return Target {
            damage.seeds()
        } run: { input in
            let choice = Int(input.first ?? 0)
            guard !takesLongWay(input, share: 64) else {
                return try read(merged(input.dropFirst()), choice)
            }
            try undone(study) { study in
                try change(study, damage, input.dropFirst())
                let items = try merge.plan(sources)
                // Copied rows come through the file.
                guard items.allSatisfy(\.addsCounts) else { return }
                try undone(target) { target in
                    try merge.write(items, sources, to: target)
                    try rowReadings[choice % rowReadings.count](target)
                }
            }
        }
    }

    /// Counts a shard's samples of domains of the bench, or all of them.
    private static func count(
        _ shard: Shard?, _ domains: [Domain], with model: any CountingModel, into path: String
    ) throws {
        let study = try Study(path: path, access: .writing)
        let plan = try CountingPlan(
            study: study, model: model, bench: Golden.folder + "/bench", goal: .samples(4),
            blocks: 3,
            shard: shard)
        for domain in domains { _ = try ResumableRun(plan.step(domain)).run() }
    }

    /// Removes a study and what lies beside it.
    private static func remove(_ path: String) {
        for suffix in ["", "-wal", "-shm", "-journal", ".lock"] { unlink(path + suffix) }
    }

    /// Something that commands read of a study.
    private static func read(_ study: Study, _ choice: Int) throws {
        _ = try study.model()
        try readings[choice % readings.count](study)
    }

    /// Everything that reads rows of its own, by itself.
    private static let rowReadings: [@Sendable (Study) throws -> Void] = [
        { study in for pass in try study.passes() { _ = try study.passCounts(pass) } },
        { study in for pass in try study.passes() { _ = try study.passMoments(pass) } },
        { study in
            for pass in try study.passes() {
                _ = try study.counts(domain: pass.domain, split: pass.split, form: pass.form)
            }
        },
        { study in
            for module in try study.modules() { _ = try study.identification(module: module.name) }
        },
        { study in
            for set in try study.answerSets() {
                _ = try study.answers(domain: set.domain, split: set.split, setting: set.setting)
            }
        },
        { study in for pass in try study.lensPasses(.lens) { _ = try study.lensSummary(pass) } },
        { study in
            for pass in try study.lensPasses(.deviation) { _ = try study.deviationSummaries(pass) }
        },
        { study in _ = try study.shards() },
    ]

    /// What commands read: that, and what is made of all of it together.
    private static let readings: [@Sendable (Study) throws -> Void] =
        rowReadings + [
            { study in
                for module in try study.modules() { _ = try study.identify(module: module.name) }
            },
            { study in
                for module in try study.modules() {
                    let cards = try NeuronCards(study, module: module.name, set: .usual)
                    for layer in 0..<min(4, module.layers) {
                        _ = try cards.card(layer: layer, neuron: 0)
                    }
                }
            },
            { study in
                let options = ReportOptions(resampling: Resampling(draws: 5, seed: 1))
                let document = try ReportDocument(study, judge: ExactJudge(), options: options)
                _ = try ReportPage(document).html()
            },
            { study in _ = try StudyComparison(study, study, judge: ExactJudge()) },
            { study in
                _ = try StudyExport.write(study, to: Scratch.path("exported"), model: "m")
            },
        ]
}

/// Changes rows of a copy of a study.
///
/// An input is a list of changes: table, column, row, kind, and what the kind needs. The tables are
/// brought up to date and then made without STRICT, so that any value that SQLite lets in (no NULL
/// in a column that is NOT NULL, no key twice) can stand in any column.
private final class RowDamage {
    private struct Table {
        let name: String
        let columns: [String]
        /// A WHERE clause for each row.
        let rows: [String]
    }

    private let whole: [UInt8]
    private let tables: [Table]

    init(study: String) throws {
        let path = Scratch.path("loose.sqlite")
        try Scratch.write(Array(Data(contentsOf: URL(fileURLWithPath: study))), to: path)
        _ = try Study(path: path, access: .updating)
        // STRICT makes a key NOT NULL by itself, and mmq looks whether columns are what they should be.
        try Self.open(path).writeWithoutTransaction { db in
            try db.execute(
                sql: """
                    PRAGMA writable_schema = ON;
                    UPDATE sqlite_master SET sql = replace(
                        replace(
                            replace(sql, 'TEXT PRIMARY KEY', 'TEXT NOT NULL PRIMARY KEY'),
                            'STRICT, WITHOUT ROWID', 'WITHOUT ROWID'), ') STRICT', ')');
                    PRAGMA writable_schema = RESET;
                    """)
        }
        tables = try Self.open(path).read { db in
            let names = try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
                        AND name NOT LIKE 'grdb%' ORDER BY name
                    """)
            return try names.map { name in
                let keys = try db.primaryKey(name).columns
                let list = keys.map { "quote(\"\($0)\")" }.joined(separator: ", ")
                let rows = try Row.fetchAll(db, sql: "SELECT \(list) FROM \(name)").map { row in
                    zip(keys, row.databaseValues.map { String.fromDatabaseValue($0) ?? "NULL" })
                        .map { "\"\($0)\" = \($1)" }.joined(separator: " AND ")
                }
                return Table(name: name, columns: try db.columns(in: name).map(\.name), rows: rows)
            }
        }
        whole = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    private static func open(_ path: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// A change of each kind in each column.
    func seeds() -> [Seed] {
        // Each way of reading it; the second takes the long way, and changes nothing, for a key is
        // never NULL.
        var seeds = (0..<16).flatMap {
            let rows: [UInt8] = [UInt8($0), 1]
            let whole: [UInt8] = [UInt8($0), 0, 0, 64 - UInt8($0), 0]
            return [Seed("rows-\($0)", rows), Seed("whole-\($0)", whole)]
        }
        for (number, table) in tables.enumerated() {
            for (place, column) in table.columns.enumerated() {
                for (kind, rest) in [
                    [1, 0xFF], [4, 5] + Array("[[1,2".utf8), [5, 1, 7], [6, 3, 0, 0x80],
                ].enumerated() {
                    seeds.append(
                        Seed(
                            "\(table.name)-\(column)-\(kind)",
                            [
                                UInt8(truncatingIfNeeded: seeds.count), UInt8(number), UInt8(place),
                                0,
                            ]
                                + rest))
                }
            }
        }
        return seeds
    }

    /// Writes the damaged copy.
    func apply(_ input: ArraySlice<UInt8>, to path: String) throws {
        try Scratch.write(whole, to: path)
        try Self.open(path).writeWithoutTransaction { try apply(input, $0) }
    }

    /// Changes the rows of a study that is open.
    func apply(_ input: ArraySlice<UInt8>, _ db: Database) throws {
        var rest = input
        func byte() -> UInt8 { rest.popFirst() ?? 0 }
        func word() -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(byte()) << (8 * $1) } }
        func bytes() -> [UInt8] {
            let count = Int(byte())
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        for _ in 0..<8 where !rest.isEmpty {
            let table = tables[Int(byte()) % tables.count]
            let column = table.columns[Int(byte()) % table.columns.count]
            let place = Int(byte())
            guard !table.rows.isEmpty else { continue }
            let row = table.rows[place % table.rows.count]
            var sql = "UPDATE \(table.name) SET \"\(column)\" = ? WHERE \(row)"
            var value = DatabaseValue.null
            switch byte() % 8 {
            case 0: break
            case 1: value = Int(Int8(bitPattern: byte())).databaseValue
            case 2: value = Int64(bitPattern: word()).databaseValue
            case 3: value = Double(bitPattern: word()).databaseValue
            case 4: value = String(decoding: bytes(), as: UTF8.self).databaseValue
            case 5: value = Data(bytes()).databaseValue
            case 6:
                let offset = Int(byte()) | Int(byte()) << 8
                let mask = byte()
                let select = "SELECT \"\(column)\" FROM \(table.name) WHERE \(row)"
                guard let held = try DatabaseValue.fetchOne(db, sql: select) else { continue }
                value = Self.flipped(held, offset, mask)
            default: sql = "DELETE FROM \(table.name) WHERE \(row)"
            }
            do {
                try db.execute(
                    sql: sql, arguments: sql.hasPrefix("UPDATE") ? [value] : [])
            } catch is DatabaseError {
                continue  // what SQLite itself does not let in
            }
        }
    }

    private static func flipped(_ held: DatabaseValue, _ offset: Int, _ mask: UInt8)
        -> DatabaseValue
    {
        func flipped(_ bytes: some Sequence<UInt8>) -> [UInt8] {
            var bytes = Array(bytes)
            if !bytes.isEmpty { bytes[offset % bytes.count] ^= mask }
            return bytes
        }
        switch held.storage {
        case .blob(let data): return Data(flipped(data)).databaseValue
        case .string(let text):
            return String(decoding: flipped(text.utf8), as: UTF8.self).databaseValue
        case .int64(let number):
            return (number ^ (Int64(mask) << Int64(offset % 56))).databaseValue
        case .double(let number):
            return Double(bitPattern: number.bitPattern ^ UInt64(mask) << UInt64(offset % 56))
                .databaseValue
        case .null: return Int64(mask).databaseValue
        }
    }
}
