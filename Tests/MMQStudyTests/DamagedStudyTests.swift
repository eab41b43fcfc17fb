import Foundation
import GRDB
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// What no run writes is a damaged file, not a crash: an error that names the file and the table,
/// and no failure of the work (the command ends with 2).
@Suite struct DamagedStudyTests {
    /// A file with rows in every table, and a copy of it for every damage.
    private static let whole = Golden.folder + "/study/whole.sqlite"
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path + "/study.sqlite"
    }

    private func damage(_ statements: String...) throws {
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: Self.whole, toPath: path)
        // The file is of an older mmq: its tables become today's first.
        _ = try Study(path: path, access: .updating)
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        try DatabaseQueue(path: path, configuration: configuration).writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA legacy_alter_table = ON")
            for statement in statements { try db.execute(sql: statement) }
        }
    }

    /// Reads all that a study holds.
    private func readAll(_ path: String) throws {
        let study = try Study(path: path, access: .reading)
        _ = try study.model()
        for module in try study.modules() { _ = try study.identification(module: module.name) }
        for pass in try study.passes() {
            _ = try study.counts(domain: pass.domain, split: pass.split, form: pass.form)
        }
        for set in try study.answerSets() {
            _ = try study.answers(domain: set.domain, split: set.split, setting: set.setting)
        }
        for pass in try study.lensPasses(.lens) { _ = try study.lensSummary(pass) }
        for pass in try study.lensPasses(.deviation) { _ = try study.deviationSummaries(pass) }
    }

    private func expectDamage(_ table: String, _ what: String) {
        do {
            try readAll(path)
            Issue.record("\(what): nothing was thrown")
        } catch let error as InputError {
            #expect(error.code == .badInput && !error.code.isFailure, "\(what): \(error)")
            #expect(error.file == path && error.item == "table \(table)", "\(what): \(error)")
            #expect("\(error)".contains("damaged"), "\(what): \(error)")
            #expect("\(error)".utf8.count < 600, "\(what): \(error)")
        } catch {
            Issue.record("\(what): \(error)")
        }
    }

    /// Table → columns.
    private func tables() throws -> [String: [String]] {
        try DatabaseQueue(path: path).read { db in
            var tables: [String: [String]] = [:]
            for table in try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM sqlite_master
                    WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'grdb%'
                    """)
            {
                tables[table] = try db.columns(in: table).map(\.name)
            }
            return tables
        }
    }

    @Test func aWholeFileIsRead() throws {
        try damage()
        try readAll(path)
        #expect(try tables().count == 16)
    }

    @Test func columnsAndTablesThatAreNotThere() throws {
        try damage()
        for (table, columns) in try tables() {
            for column in columns {
                try damage("ALTER TABLE \"\(table)\" RENAME COLUMN \"\(column)\" TO \"other\"")
                expectDamage(table, "\(table).\(column) renamed")
            }
            try damage("ALTER TABLE \"\(table)\" RENAME TO other")
            expectDamage(table, "\(table) renamed")
        }
    }

    /// Values of another type than the column's: SQLite itself would take text for a number. A
    /// STRICT table cannot hold them, so the table is made anew without.
    @Test(arguments: [
        ("module", "layers", "'many'"), ("pass", "cursor", "'first'"), ("pass", "domain", "'sky'"),
        ("pass", "form", "7"), ("pass", "finished", "'no'"), ("pass", "vision_tokens", "x'07'"),
        ("count", "counts", "'text'"), ("count", "sums", "12"),
        ("identification", "top_rate", "'high'"), ("identification", "selected", "x''"),
        ("neuron_set", "neurons", "'[[1,'"), ("neuron_set", "neurons", "'{}'"),
        ("neuron_set", "domain", "'sky'"), ("answer_set", "mask", "'[]'"),
        ("answer_set", "domain", "''"), ("answer", "tokens", "'[1.5]'"),
        ("answer", "attributes", "'[]'"), ("answer", "prompt_tokens", "'few'"),
        ("answer", "text", "NULL"), ("answer", "position", "x'01'"),
        ("lens_pass", "kind", "'tele'"), ("lens_pass", "cursor", "'x'"),
        ("lens_sample", "best", "x'00'"), ("lens_sample", "sums", "'abc'"),
        ("lens_sample", "kinds", "3"), ("deviation_sample", "mask", "'sky'"),
        ("deviation_sample", "sums", "x'0102'"), ("deviation_sample", "place", "'here'"),
        ("pass", "missing", "'[1,'"), ("pass", "missing", "'[1, 0]'"),
        ("pass", "missing", "'[-1]'"), ("pass", "missing", "'[900000]'"),
        ("lens_pass", "missing", "'[1, 1]'"), ("lens_pass", "missing", "'[900000]'"),
    ])
    func valuesOfAnotherType(_ table: String, _ column: String, _ value: String) throws {
        try damage()
        let sql = try DatabaseQueue(path: path).read { db in
            try String.fetchOne(
                db, sql: "SELECT sql FROM sqlite_master WHERE name = ?", arguments: [table])
        }
        let loose = try #require(sql).replacingOccurrences(of: ") STRICT", with: ")")
        try damage(
            "ALTER TABLE \"\(table)\" RENAME TO other",
            loose.replacingOccurrences(of: ", WITHOUT ROWID", with: "WITHOUT ROWID"),
            "INSERT INTO \"\(table)\" SELECT * FROM other", "DROP TABLE other",
            "UPDATE OR REPLACE \"\(table)\" SET \(column) = \(value)")
        expectDamage(table, "\(table).\(column) = \(value)")
    }

    @Test(arguments: [
        ("pass", "cursor"), ("pass", "samples"), ("pass", "skipped"), ("pass", "missing_frames"),
        ("pass", "vision_tokens"), ("pass", "vision_tokens_before"), ("count", "tokens"),
        ("identification", "selected"), ("answer", "prompt_tokens"), ("lens_pass", "cursor"),
        ("lens_pass", "samples"), ("lens_pass", "skipped"), ("deviation_sample", "image_tokens"),
        ("deviation_sample", "text_tokens"), ("module", "layers"), ("module", "neurons"),
    ])
    func amountsThatCannotBe(_ table: String, _ column: String) throws {
        for value in ["-1", "-9223372036854775808", "9223372036854775807"] {
            try damage("UPDATE \"\(table)\" SET \(column) = \(value)")
            expectDamage(table, "\(table).\(column) = \(value)")
        }
    }

    @Test(arguments: [Int64(-7), 1 << 62, .max, .min])
    func aNeuronThatFiredMoreOftenThanThereWereTokens(_ count: Int64) throws {
        let rows = try Study(path: Self.copy(folder), access: .reading)
            .counts(domain: .rs, split: "train")
        for module in rows {
            var counts = module.counts
            counts[counts.count / 2] = count
            let bytes = counts.withUnsafeBytes { Data($0) }
            let digits = bytes.map { String(format: "%02x", $0) }.joined()
            try damage(
                """
                UPDATE count SET counts = x'\(digits)' WHERE pass = 1 AND module =
                    (SELECT ordinal FROM module WHERE name = '\(module.shape.name)')
                """)
            expectDamage("count", "\(module.shape.name) fired \(count) times")
        }
    }

    private static func copy(_ folder: TemporaryFolder) throws -> String {
        let path = folder.path + "/copy.sqlite"
        try FileManager.default.copyItem(atPath: whole, toPath: path)
        return path
    }

    @Test func blobsOfOtherLengths() throws {
        for (table, column) in [
            ("count", "counts"), ("count", "sums"), ("lens_sample", "sums"),
            ("lens_sample", "best"), ("lens_sample", "kinds"),
        ] {
            for value in ["x''", "substr(\(column), 1, length(\(column)) - 1)"] {
                try damage("UPDATE \(table) SET \(column) = \(value)")
                expectDamage(table, "\(table).\(column) = \(value)")
            }
        }
    }

    /// Masks of one pass are shown side by side.
    @Test func deviationsOfOtherNumbersOfLayers() throws {
        try damage(
            """
            UPDATE deviation_sample SET sums = substr(sums, 1, length(sums) - 32)
                WHERE mask = (SELECT max(mask) FROM deviation_sample)
            """)
        let error = #expect(throws: InputError.self) { try readAll(path) }
        #expect(error?.code == .badInput && error?.problem.contains("layers") == true)
    }

    /// A few bytes of a row would ask for gigabytes.
    @Test func modulesBeyondTheirCounts() throws {
        try damage("UPDATE module SET neurons = 67108864")
        expectDamage("count", "neurons")
        try damage("UPDATE module SET layers = 4097, neurons = 1")
        expectDamage("module", "layers")
    }

    @Test func neuronsThatTheModuleDoesNotHave() throws {
        for list in ["[]", "[[-1],[],[],[]]", "[[1000000]]"] {
            try damage("UPDATE neuron_set SET neurons = '\(list)'")
            expectDamage("neuron_set", list)
        }
        try damage("UPDATE identification SET domains = 'rs sky'")
        expectDamage("identification", "sky")
    }
}
