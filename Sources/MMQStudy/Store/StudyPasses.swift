import Foundation
import GRDB
import MMQBase
import MMQModels

/// How far a counting pass over a domain has come: a row of `pass`.
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

    /// Stands for the annotations of counts that came from a file.
    public static let imported = "imported"

    /// A pass that has not begun.
    public init(domain: Domain, split: String, form: PromptForm, bench: String) {
        self.domain = domain
        self.split = split
        self.form = form
        self.bench = bench
    }
}

extension PassState: StudyRow {
    static let table = "pass"

    var damage: String? {
        firstBeyond(
            ("cursor", cursor), ("samples", samples), ("skipped", skipped),
            ("missing_frames", missingFrames), ("vision_tokens", Int(visionTokens)),
            ("vision_tokens_before", Int(visionTokensBefore)))
    }
}

/// A row of `count`.
private struct CountRow: StudyRow {
    static let table = "count"
    let pass: Int64
    let module: Int
    let tokens: Int64
    let counts: Blob
    let sums: Blob

    var damage: String? { firstBeyond(("tokens", Int(tokens))) }
}

extension Study {
    /// The passes that the study holds, in the order of the domains.
    public func passes() throws -> [PassState] {
        try read { db in
            try PassState.Record.fetchAll(db, sql: "SELECT * FROM pass").map(\.row)
        }.sorted { $0.domain.place < $1.domain.place }
    }

    /// The pass over a domain, if there is one.
    public func pass(domain: Domain, split: String, form: PromptForm = .simple) throws -> PassState?
    {
        try read { db in
            try PassState.Record.fetchOne(
                db, sql: "SELECT * FROM pass WHERE domain = ? AND split = ? AND form = ?",
                arguments: [domain.rawValue, split, form.rawValue])?.row
        }
    }

    /// What a pass has counted, one entry per module, in the model's order.
    ///
    /// - Throws: `InputError`, `.mismatch` if the study holds no such pass, `.badInput` if its
    ///   numbers are not of the modules, or a neuron fired more often than there were tokens.
    public func counts(
        domain: Domain, split: String, form: PromptForm = .simple
    ) throws -> [ModuleCounts] {
        let modules = try modules()
        let rows = try read { db in
            try modules.compactMap { shape in
                try CountRow.Record.fetchOne(
                    db,
                    sql: """
                        SELECT count.* FROM count
                        JOIN module ON module = ordinal JOIN pass ON pass = id
                        WHERE domain = ? AND split = ? AND form = ? AND name = ?
                        """, arguments: [domain.rawValue, split, form.rawValue, shape.name]
                ).map { (shape, $0.row) }
            }
        }
        guard !rows.isEmpty else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "the study holds no counts of this domain's \(split) split")
        }
        return try rows.map(moduleCounts)
    }

    private func moduleCounts(_ shape: ModuleShape, _ row: CountRow) throws -> ModuleCounts {
        var counts = ModuleCounts(shape: shape)
        let size = counts.counts.count
        guard let fired: [Int64] = row.counts.numbers(), let sums = row.sums.doubles(),
            fired.count == size, sums.count == size
        else {
            throw damaged(
                CountRow.table,
                "\(shape.name): \(row.counts.bytes.count) bytes of counts and "
                    + "\(row.sums.bytes.count) of sums, expected \(size) numbers of 8 bytes each")
        }
        if let wrong = fired.first(where: { !(0...row.tokens).contains($0) }) {
            throw damaged(
                CountRow.table,
                "\(shape.name): a neuron fired \(wrong) times in \(row.tokens) tokens")
        }
        counts.tokens = row.tokens
        counts.counts = fired
        counts.sums = sums
        return counts
    }

    /// Stores totals and the place that they reach to, both or neither. Neuron sets that were found
    /// from the domain's earlier counts go: they are not those of the new ones.
    func commit(_ state: PassState, _ counts: [ModuleCounts]) throws {
        try write { db in
            try state.record.upsert(db)
            try removeIdentifications(db, domain: state.domain, split: state.split)
            guard
                let pass = try Int64.fetchOne(
                    db, sql: "SELECT id FROM pass WHERE domain = ? AND split = ? AND form = ?",
                    arguments: [state.domain.rawValue, state.split, state.form.rawValue])
            else { return }
            for entry in counts {
                guard let module = try ordinal(of: entry.shape.name, db) else { continue }
                try CountRow(
                    pass: pass, module: module, tokens: entry.tokens, counts: Blob(entry.counts),
                    sums: Blob(entry.sums)
                ).record.upsert(db)
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
}
