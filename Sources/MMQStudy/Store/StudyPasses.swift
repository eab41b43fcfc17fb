import Foundation
import GRDB
import MMQBase
import MMQModels

/// How far a counting pass over a domain has come.
public struct PassState: Sendable, Equatable, Codable {
    /// The domain.
    public let domain: Domain
    /// The split.
    public let split: String
    /// Which prompt went round the questions.
    public let form: PromptForm
    /// Identifies the annotations; `imported` for counts that came from a file.
    public let bench: String
    /// The next place in the bench's order.
    public internal(set) var cursor = 0
    /// Samples counted.
    public internal(set) var samples = 0
    /// Samples passed over because their picture is not there.
    public internal(set) var skipped = 0
    /// Frames left out of a joined picture because they are not there.
    public internal(set) var missingFrames = 0
    /// Tokens that the vision module has seen.
    public internal(set) var visionTokens: Int64 = 0
    /// The same before the last sample: tells whether a goal was reached with that one.
    public internal(set) var visionTokensBefore: Int64 = 0
    /// Whether the goal was reached or the bench ended.
    public internal(set) var finished = false

    /// A pass that has not begun.
    public init(domain: Domain, split: String, form: PromptForm, bench: String) {
        self.domain = domain
        self.split = split
        self.form = form
        self.bench = bench
    }
}

extension Study {
    /// The passes that the study holds, in the order of the domains.
    public func passes() throws -> [PassState] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM pass").map(Self.state)
        }.sorted { Self.rank($0.domain) < Self.rank($1.domain) }
    }

    /// The pass over a domain, if there is one.
    public func pass(domain: Domain, split: String, form: PromptForm = .simple) throws -> PassState?
    {
        try read { db in
            try Row.fetchOne(
                db, sql: "SELECT * FROM pass WHERE domain = ? AND split = ? AND form = ?",
                arguments: [domain.rawValue, split, form.rawValue]
            ).map(Self.state)
        }
    }

    /// What a pass has counted, one entry per module, in the model's order.
    ///
    /// - Throws: `InputError`, `.mismatch` if the study holds no such pass.
    public func counts(
        domain: Domain, split: String, form: PromptForm = .simple
    ) throws -> [ModuleCounts] {
        let modules = try modules()
        let rows = try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT name, tokens, counts, sums FROM count
                    JOIN module ON module = ordinal JOIN pass ON pass = id
                    WHERE domain = ? AND split = ? AND form = ?
                    """, arguments: [domain.rawValue, split, form.rawValue])
        }
        guard !rows.isEmpty else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "the study holds no counts of this domain's \(split) split")
        }
        return try modules.compactMap { shape in
            guard let row = rows.first(where: { $0["name"] == shape.name }) else { return nil }
            var counts = ModuleCounts(shape: shape)
            counts.tokens = row["tokens"]
            counts.counts = try numbers(row["counts"], like: counts.counts, shape)
            counts.sums = try numbers(row["sums"], like: counts.sums, shape)
            return counts
        }
    }

    /// Stores totals and the place that they reach to, both or neither. Neuron sets that were found
    /// from the domain's earlier counts go: they are not those of the new ones.
    func commit(_ state: PassState, _ counts: [ModuleCounts]) throws {
        try write { db in
            try db.execute(
                sql: """
                    INSERT INTO pass (domain, split, form, bench, cursor, samples, skipped,
                        missing_frames, vision_tokens, vision_tokens_before, finished)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (domain, split, form) DO UPDATE SET bench = excluded.bench,
                        cursor = excluded.cursor, samples = excluded.samples,
                        skipped = excluded.skipped, missing_frames = excluded.missing_frames,
                        vision_tokens = excluded.vision_tokens,
                        vision_tokens_before = excluded.vision_tokens_before,
                        finished = excluded.finished
                    """,
                arguments: [
                    state.domain.rawValue, state.split, state.form.rawValue, state.bench,
                    state.cursor, state.samples, state.skipped, state.missingFrames,
                    state.visionTokens, state.visionTokensBefore, state.finished ? 1 : 0,
                ])
            try removeIdentifications(db, domain: state.domain, split: state.split)
            for entry in counts {
                try db.execute(
                    sql: """
                        INSERT OR REPLACE INTO count
                        SELECT id, ordinal, ?, ?, ? FROM pass, module
                        WHERE domain = ? AND split = ? AND form = ? AND name = ?
                        """,
                    arguments: [
                        entry.tokens, bytes(entry.counts), bytes(entry.sums),
                        state.domain.rawValue, state.split, state.form.rawValue, entry.shape.name,
                    ])
            }
        }
    }

    /// Drops what was counted over a domain, and the neuron sets that were found from it.
    func removePass(domain: Domain, split: String, form: PromptForm = .simple) throws {
        try write { db in
            try db.execute(
                sql: "DELETE FROM pass WHERE domain = ? AND split = ? AND form = ?",
                arguments: [domain.rawValue, split, form.rawValue])
            try removeIdentifications(db, domain: domain, split: split)
        }
    }

    private func removeIdentifications(_ db: Database, domain: Domain, split: String) throws {
        try db.execute(
            sql: "DELETE FROM identification WHERE split = ? AND ' ' || domains || ' ' LIKE ?",
            arguments: [split, "% \(domain.rawValue) %"])
    }

    private static func rank(_ domain: Domain) -> Int {
        Domain.allCases.firstIndex(of: domain) ?? 0
    }

    private static func state(_ row: Row) throws -> PassState {
        guard let domain = Domain(rawValue: row["domain"]),
            let form = PromptForm(rawValue: row["form"])
        else {
            throw DatabaseError(
                resultCode: .SQLITE_CORRUPT, message: "an unknown domain or prompt form")
        }
        var state = PassState(
            domain: domain, split: row["split"], form: form, bench: row["bench"])
        state.cursor = row["cursor"]
        state.samples = row["samples"]
        state.skipped = row["skipped"]
        state.missingFrames = row["missing_frames"]
        state.visionTokens = row["vision_tokens"]
        state.visionTokensBefore = row["vision_tokens_before"]
        state.finished = row["finished"] != 0
        return state
    }

    /// 8-byte numbers as they lie in memory: every platform that mmq runs on is little-endian.
    private func bytes<Number>(_ numbers: [Number]) -> Data {
        numbers.withUnsafeBytes { Data($0) }
    }

    private func numbers<Number>(
        _ data: Data, like zeros: [Number], _ shape: ModuleShape
    ) throws -> [Number] {
        guard data.count == zeros.count * MemoryLayout<Number>.stride else {
            throw InputError(
                .badInput, file: path, item: shape.name,
                "\(data.count) bytes of counts, expected \(zeros.count) numbers of 8 bytes")
        }
        var numbers = zeros
        numbers.withUnsafeMutableBytes { _ = data.copyBytes(to: $0) }
        return numbers
    }
}
