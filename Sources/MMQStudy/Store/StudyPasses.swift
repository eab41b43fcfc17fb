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
    /// Samples passed over: their picture is not there, or the model cannot take them.
    public internal(set) var skipped = 0
    /// Frames left out of a joined picture because they are not there.
    public internal(set) var missingFrames = 0
    /// Places of samples whose picture is not there, ascending; empty in studies of an mmq that did not keep them.
    public internal(set) var missing: [Int] = []
    /// Tokens that the vision module has seen.
    public internal(set) var visionTokens: Int64 = 0
    /// The same before the last sample: tells whether a goal was reached with that one.
    public internal(set) var visionTokensBefore: Int64 = 0
    /// Whether the goal was reached or the bench ended.
    public internal(set) var finished = false
    /// Into how many blocks samples are counted: each into that of its position modulo the number.
    public internal(set) var blocks = 1
    /// Whether the picture's positions and the text's are counted apart.
    public internal(set) var apart = false
    /// How many of each neuron's strongest activations are kept; 0 for none.
    public internal(set) var keepTop = 0

    /// How many blocks a pass may have.
    public static let blockRange = 2...256
    /// How many of a neuron's strongest activations can be kept.
    public static let keepRange = 0...MomentRequest.mostKept

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
        guard (1...Self.blockRange.upperBound).contains(blocks) else {
            return "blocks is \(blocks)"
        }
        guard Self.keepRange.contains(keepTop) else { return "keep_top is \(keepTop)" }
        return missing.damage(before: cursor)
            ?? firstBeyond(
                ("cursor", cursor), ("samples", samples), ("skipped", skipped),
                ("missing_frames", missingFrames), ("vision_tokens", Int(visionTokens)),
                ("vision_tokens_before", Int(visionTokensBefore)))
    }
}

extension [Int] {
    /// What is wrong with them as places that a walk left out; nil if nothing is.
    func damage(before cursor: Int) -> String? {
        let isAscending = zip(self, dropFirst()).allSatisfy { $0 < $1 }
        return isAscending && (first ?? 0) >= 0 && (last ?? -1) < cursor
            ? nil : "missing holds places that no walk up to \(cursor) left out"
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

/// What counts are asked for.
struct CountsKey: Hashable {
    let domain: Domain
    let split: String
    let form: PromptForm
    let positions: Positions
}

extension PassState {
    /// The number under which other tables know the pass.
    func id(_ db: Database) throws -> Int64? {
        try Int64.fetchOne(
            db, sql: "SELECT id FROM pass WHERE domain = ? AND split = ? AND form = ?",
            arguments: [domain.rawValue, split, form.rawValue])
    }
}

extension Study {
    /// The passes that the study holds, in the order of the domains.
    public func passes() throws -> [PassState] {
        try read { db in
            try PassState.all(db, "SELECT * FROM pass")
        }.sorted { $0.domain.place < $1.domain.place }
    }

    /// The pass over a domain, if there is one.
    public func pass(domain: Domain, split: String, form: PromptForm = .simple) throws -> PassState?
    {
        try read { db in
            try PassState.first(
                db, "SELECT * FROM pass WHERE domain = ? AND split = ? AND form = ?",
                [domain.rawValue, split, form.rawValue])
        }
    }

    /// What a pass has counted, one entry per module, in the model's order.
    ///
    /// - Parameter positions: over which; a module that has seen none of that kind is left out.
    /// - Throws: `InputError`, `.mismatch` if the study holds no such pass, or the pass does not tell
    ///   positions apart, `.badInput` if its numbers are not of the modules, or a neuron fired more
    ///   often than there were tokens.
    public func counts(
        domain: Domain, split: String, form: PromptForm = .simple, positions: Positions = .all
    ) throws -> [ModuleCounts] {
        let key = CountsKey(domain: domain, split: split, form: form, positions: positions)
        if let known = rememberedCounts?[key] { return known }
        let found = try readCounts(key)
        rememberedCounts?[key] = found
        return found
    }

    /// While `body` runs, which changes no counts, they are decoded once each: hundreds of controls
    /// are drawn from the same ones.
    public func rememberingCounts<T>(_ body: () throws -> T) rethrows -> T {
        rememberedCounts = rememberedCounts ?? [:]
        defer { rememberedCounts = nil }
        return try body()
    }

    private func readCounts(_ key: CountsKey) throws -> [ModuleCounts] {
        let (domain, split, positions) = (key.domain, key.split, key.positions)
        let modules = try modules()
        guard let pass = try pass(domain: domain, split: split, form: key.form) else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "the study holds no counts of this domain's \(split) split")
        }
        guard positions == .all || pass.apart else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "counted without telling the picture's positions from the text's; count with "
                    + "\(CommandHint.positions)")
        }
        let (rows, held) = try read { db in
            guard let id = try pass.id(db) else { return ([CountRow](), PassCounts()) }
            return (
                try CountRow.all(db, "SELECT * FROM count WHERE pass = ?", [id]),
                try PassCounts(of: id, db)
            )
        }
        let found = try modules.enumerated().compactMap { module, shape -> ModuleCounts? in
            let parts =
                try rows.filter { $0.module == module }.map { try moduleCounts(shape, $0) }
                + held.counts(of: module, shape).filter {
                    positions == .all || $0.positions == positions
                }
            guard var whole = parts.first else { return nil }
            for part in parts.dropFirst() { whole.add(part) }
            if positions == .all {
                whole.positions = .all
                // Rounded once: from the sums of both kinds of positions together.
                held.roundSums(of: module, &whole, beside: rows.contains { $0.module == module })
            }
            return whole
        }
        guard !found.isEmpty else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "the study holds no counts of this domain's \(split) split")
        }
        return found
    }

    private func moduleCounts(_ shape: ModuleShape, _ row: CountRow) throws -> ModuleCounts {
        // Nothing of the module's size is made before there are as many numbers.
        let size = shape.layers * shape.neurons
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
        var counts = ModuleCounts(shape: shape)
        counts.tokens = row.tokens
        counts.counts = fired
        counts.sums = sums
        counts.squares = []
        counts.maxima = []
        return counts
    }

    /// What a pass has counted, in blocks.
    ///
    /// - Parameter module: the number of the module whose blocks are wanted, without sums; nil for
    ///   everything.
    func passCounts(_ pass: PassState, blocksOf module: Int? = nil) throws -> PassCounts {
        try read { db in
            try pass.id(db).map { try PassCounts(of: $0, db, blocksOf: module) } ?? PassCounts()
        }
    }

    /// The strongest activations of a pass's neurons.
    func passMoments(_ pass: PassState) throws -> PassMoments {
        let modules = try modules()
        return try read { db in
            try pass.id(db).map { try PassMoments.read(of: pass, id: $0, modules: modules, db) }
                ?? PassMoments(modules: modules, keep: pass.keepTop)
        }
    }

    /// The strongest activations of a layer's neurons; nil if the pass keeps none.
    ///
    /// - Parameter module: the module's number.
    func moments(_ pass: PassState, module: Int, layer: Int) throws -> PassMoments.Layer? {
        guard pass.keepTop > 0 else { return nil }
        let neurons = try modules()[module].neurons
        return try read { db in
            guard
                let row = try MomentRow.first(
                    db, "SELECT * FROM moment WHERE pass = ? AND module = ? AND layer = ?",
                    [pass.id(db), module, layer])
            else {
                throw StudyDamage(
                    table: MomentRow.table, problem: "no layer \(layer) of module \(module)")
            }
            return try PassMoments.Layer(
                row, neurons: neurons, keep: pass.keepTop, before: pass.cursor)
        }
    }

    /// Which kinds of positions a module has seen, of those that a pass keeps apart.
    public func positions(of module: String, in pass: PassState) throws -> [Positions] {
        try read { db in
            guard let module = try ordinal(of: module, db), let id = try pass.id(db) else {
                return []
            }
            let held = try BlockCountRow.positions(db, pass: id, module: module)
            return Positions.allCases.filter(held.contains)
        }
    }

    /// Stores totals without blocks, and the place that they reach to, both or neither. Neuron sets
    /// that were found from the domain's earlier counts go: they are not those of the new ones.
    func commit(_ state: PassState, _ counts: [ModuleCounts]) throws {
        try commit(state) { db, pass in
            for entry in counts {
                guard let module = try ordinal(of: entry.shape.name, db) else { continue }
                try CountRow(
                    pass: pass, module: module, tokens: entry.tokens, counts: Blob(entry.counts),
                    sums: Blob(entry.sums)
                ).put(db)
            }
        }
    }

    /// The same of counts in blocks, and of what made neurons fire: what changed since they were
    /// settled last. They are to be settled once the transaction that this is part of has gone
    /// through.
    func commit(_ state: PassState, _ counts: PassCounts, _ moments: PassMoments? = nil) throws {
        try commit(state) { db, pass in
            try counts.store(pass, db)
            try moments?.store(pass, db)
        }
    }

    private func commit(_ state: PassState, _ store: (Database, Int64) throws -> Void) throws {
        try write { db in
            try state.put(db)
            try removeIdentifications(db, domain: state.domain, split: state.split)
            if let pass = try state.id(db) { try store(db, pass) }
        }
    }

    /// Drops what was counted over a domain, and the neuron sets that were found from it.
    func removePass(domain: Domain, split: String, form: PromptForm = .simple) throws {
        try write { db in
            try db.change(
                "DELETE FROM pass WHERE domain = ? AND split = ? AND form = ?",
                [domain.rawValue, split, form.rawValue])
            try removeIdentifications(db, domain: domain, split: split)
            try removeShards(
                db,
                of: StudyItem(kind: .counts, domain: domain, split: split, setting: form.rawValue)
            )
        }
    }

    private func removeIdentifications(_ db: Database, domain: Domain, split: String) throws {
        try db.change(
            "DELETE FROM identification WHERE split = ? AND ' ' || domains || ' ' LIKE ?",
            [split, "% \(domain.rawValue) %"])
    }
}
