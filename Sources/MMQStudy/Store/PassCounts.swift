import GRDB
import MMQBase
import MMQModels

/// A row of `block`.
private struct BlockRow: StudyRow {
    static let table = "block"
    let pass: Int64
    let block: Int
    let samples: Int

    var damage: String? {
        BlockCountRow.damage(ofBlock: block, ("samples", Int64(samples)))
    }
}

/// A row of `block_count`.
struct BlockCountRow: StudyRow {
    static let table = "block_count"
    let pass: Int64
    let block: Int
    let module: Int
    let positions: Positions
    let tokens: Int64
    let counts: Blob

    var damage: String? { Self.damage(ofBlock: block, ("tokens", tokens)) }

    /// The kinds of positions that a pass counted in a module.
    static func positions(_ db: Database, pass: Int64, module: Int) throws -> [Positions] {
        try String.fetchAll(
            db, sql: "SELECT DISTINCT positions FROM block_count WHERE pass = ? AND module = ?",
            arguments: [pass, module]
        ).compactMap(Positions.init)
    }

    /// What is wrong with a block, and with the tokens or samples in it: a run counts no more of them
    /// than can be added up.
    static func damage(ofBlock block: Int, _ amount: (name: String, value: Int64)) -> String? {
        guard (0..<PassState.blockRange.upperBound).contains(block) else {
            return "block is \(block)"
        }
        return (0...Int64(UInt32.max)).contains(amount.value)
            ? nil : "\(amount.name) is \(amount.value)"
    }
}

/// A row of `activation_sum`.
private struct ActivationSumRow: StudyRow {
    static let table = "activation_sum"
    let pass: Int64
    let module: Int
    let positions: Positions
    let sums: Blob
    let squares: Blob
    let maxima: Blob
}

/// What a pass counts, in blocks of samples: how often neurons fired, per block; sums, squares and
/// maxima of activations, over all blocks. Picture and text apart, or together.
///
/// Everything adds up exactly, so that passes over parts of a bench, added up in any order, are the
/// pass over the whole.
final class PassCounts {
    /// Part of a module's tokens.
    struct Part: Hashable {
        /// The module's ordinal.
        let module: Int
        let positions: Positions
    }

    /// How often neurons fired in a block.
    struct Fired: Equatable {
        var tokens: Int64 = 0
        /// [layers × neurons].
        var counts: [UInt32]
    }

    /// Sums over all blocks.
    struct Sums: Equatable {
        var sums: ExactSums
        var squares: ExactSums
        var maxima: [Float]

        init(count: Int) {
            sums = ExactSums(count: count)
            squares = ExactSums(count: count)
            maxima = Array(repeating: -.infinity, count: count)
        }

        mutating func add(_ other: Sums) {
            sums.add(other.sums)
            squares.add(other.squares)
            take(maxima: other.maxima)
        }

        mutating func take(maxima others: [Float]) {
            maxima = zip(maxima, others).map { $1 > $0 ? $1 : $0 }
        }
    }

    /// [block]: samples counted.
    private(set) var samples: [Int: Int] = [:]
    /// [block][part].
    private(set) var fired: [Int: [Part: Fired]] = [:]
    private(set) var sums: [Part: Sums] = [:]
    /// Blocks that are not stored as they stand here.
    private var changed: Set<Int> = []

    /// Nothing.
    init() {}

    /// Adds what a sample counted.
    ///
    /// - Parameters:
    ///   - block: the sample's.
    ///   - counts: what each of the model's modules counted.
    ///   - ordinals: the modules' numbers.
    ///   - apart: whether positions are kept apart.
    func add(
        _ counts: [ModuleCounts], block: Int, ordinals: [String: Int], apart: Bool
    ) throws {
        let entries = counts.compactMap { entry in
            ordinals[entry.shape.name].map { module in
                (Part(module: module, positions: apart ? entry.positions : .all), entry)
            }
        }
        // Parts may stand there more than once: positions that are not kept apart.
        try checkRoom(
            in: block, for: Dictionary(entries.map { ($0, $1.tokens) }, uniquingKeysWith: +))
        samples[block, default: 0] += 1
        changed.insert(block)
        for (part, entry) in entries {
            let size = entry.counts.count
            var held = fired[block]?[part] ?? Fired(counts: Array(repeating: 0, count: size))
            held.tokens += entry.tokens
            for i in 0..<size { held.counts[i] += UInt32(entry.counts[i]) }
            fired[block, default: [:]][part] = held
            var total = sums[part] ?? Sums(count: size)
            total.sums.add(entry.sums)
            total.squares.add(entry.squares)
            total.take(maxima: entry.maxima)
            sums[part] = total
        }
    }

    /// Adds what another pass counted, exactly: in whatever order, the whole is the same.
    ///
    /// - Throws: `InputError`, `.failed` where a block has seen more tokens than it can count.
    func add(_ other: PassCounts) throws {
        for (block, parts) in other.fired {
            try checkRoom(in: block, for: parts.mapValues(\.tokens))
        }
        for (block, samples) in other.samples {
            self.samples[block, default: 0] += samples
            changed.insert(block)
        }
        for (block, parts) in other.fired {
            for (part, more) in parts {
                guard var held = fired[block]?[part] else {
                    fired[block, default: [:]][part] = more
                    continue
                }
                // Out of the table while it changes: no copy is made.
                fired[block]?[part] = nil
                held.tokens += more.tokens
                for i in held.counts.indices { held.counts[i] += more.counts[i] }
                fired[block]?[part] = held
            }
        }
        for (part, more) in other.sums {
            guard var held = sums[part] else {
                sums[part] = more
                continue
            }
            sums[part] = nil
            held.add(more)
            sums[part] = held
        }
    }

    /// Before anything is added: an error leaves everything as it was.
    private func checkRoom(in block: Int, for tokens: [Part: Int64]) throws {
        for (part, more) in tokens {
            let (sum, overflow) = (fired[block]?[part]?.tokens ?? 0)
                .addingReportingOverflow(more)
            guard !overflow, sum <= Int64(UInt32.max) else {
                throw InputError(
                    .failed, file: "counts",
                    "block \(block) has seen more tokens than it can count; count in more blocks")
            }
        }
    }

    /// What was counted in a module, an entry for each kind of positions.
    func counts(of module: Int, _ shape: ModuleShape) -> [ModuleCounts] {
        Positions.allCases.compactMap { positions in
            let part = Part(module: module, positions: positions)
            guard let sums = sums[part] else { return nil }
            var counts = ModuleCounts(shape: shape, positions: positions)
            for block in fired.values {
                guard let held = block[part] else { continue }
                counts.tokens += held.tokens
                for i in held.counts.indices { counts.counts[i] += Int64(held.counts[i]) }
            }
            counts.sums = sums.sums.doubles
            counts.squares = sums.squares.doubles
            counts.maxima = sums.maxima
            return counts
        }
    }

    /// How often a module's neurons fired in a block, sums left out; nil if it saw no such token there.
    func fired(
        in block: Int, of module: Int, _ shape: ModuleShape, _ positions: Positions
    ) -> ModuleCounts? {
        var counts = ModuleCounts(shape: shape, positions: positions)
        counts.sums = []
        counts.squares = []
        counts.maxima = []
        for (part, held) in fired[block] ?? [:]
        where part.module == module && (positions == .all || part.positions == positions) {
            counts.tokens += held.tokens
            for i in held.counts.indices { counts.counts[i] += Int64(held.counts[i]) }
        }
        return counts.tokens > 0 ? counts : nil
    }

    /// Puts the sums over all kinds of positions in place of those of the kinds, rounded and added.
    ///
    /// - Parameter others: whether there are counts without blocks too, which this knows nothing of.
    func roundSums(of module: Int, _ whole: inout ModuleCounts, beside others: Bool) {
        let parts = Positions.allCases.compactMap { sums[Part(module: module, positions: $0)] }
        guard !others, parts.count > 1, var total = parts.first else { return }
        for part in parts.dropFirst() { total.add(part) }
        whole.sums = total.sums.doubles
        whole.squares = total.squares.doubles
    }

    /// Everything is stored.
    func settle() { changed = [] }

    // MARK: - Store

    /// What the study holds of a pass.
    ///
    /// - Parameter module: the number of the module whose blocks are wanted, without sums; nil for
    ///   everything.
    /// - Throws: `StudyDamage` where blobs are not of one size, or a neuron fired more often than
    ///   there were tokens.
    init(of pass: Int64, _ db: Database, blocksOf module: Int? = nil) throws {
        let sizes = try Study.modules(db).map { $0.layers * $0.neurons }
        func size(_ module: Int, _ table: String) throws -> Int {
            guard sizes.indices.contains(module) else {
                throw StudyDamage(table: table, problem: "no module \(module)")
            }
            return sizes[module]
        }
        for row in try BlockRow.all(db, "SELECT * FROM block WHERE pass = ?", [pass]) {
            samples[row.block] = row.samples
        }
        for row in try BlockCountRow.all(
            db, "SELECT * FROM block_count WHERE pass = ? AND module = ifnull(?, module)",
            [pass, module])
        {
            let size = try size(row.module, BlockCountRow.table)
            guard let counts = row.counts.narrowNumbers(size) else {
                throw StudyDamage(
                    table: BlockCountRow.table,
                    problem: "block \(row.block): \(row.counts.bytes.count) bytes for "
                        + "\(size) neurons")
            }
            if let wrong = counts.first(where: { $0 > row.tokens }) {
                throw StudyDamage(
                    table: BlockCountRow.table,
                    problem: "block \(row.block): a neuron fired \(wrong) times in "
                        + "\(row.tokens) tokens")
            }
            fired[row.block, default: [:]][Part(module: row.module, positions: row.positions)] =
                Fired(tokens: row.tokens, counts: counts)
        }
        guard module == nil else { return }
        for row in try ActivationSumRow.all(
            db, "SELECT * FROM activation_sum WHERE pass = ?", [pass])
        {
            let size = try size(row.module, ActivationSumRow.table)
            guard let sums = row.sums.numbers().flatMap({ ExactSums(words: $0) }),
                let squares = row.squares.numbers().flatMap({ ExactSums(words: $0) }),
                let maxima: [UInt32] = row.maxima.numbers(),
                [sums.count, squares.count, maxima.count].allSatisfy({ $0 == size })
            else {
                throw StudyDamage(
                    table: ActivationSumRow.table,
                    problem: "\(row.sums.bytes.count), \(row.squares.bytes.count) and "
                        + "\(row.maxima.bytes.count) bytes for \(size) neurons")
            }
            var entry = Sums(count: 0)
            entry.sums = sums
            entry.squares = squares
            entry.maxima = maxima.map { Float(bitPattern: $0) }
            self.sums[Part(module: row.module, positions: row.positions)] = entry
        }
    }

    /// Stores what changed.
    func store(_ pass: Int64, _ db: Database) throws {
        for block in changed.sorted() {
            try BlockRow(pass: pass, block: block, samples: samples[block] ?? 0).put(db)
            for (part, held) in fired[block] ?? [:] {
                try BlockCountRow(
                    pass: pass, block: block, module: part.module, positions: part.positions,
                    tokens: held.tokens, counts: Blob(narrow: held.counts)
                ).put(db)
            }
        }
        guard !changed.isEmpty else { return }
        for (part, entry) in sums {
            try ActivationSumRow(
                pass: pass, module: part.module, positions: part.positions,
                sums: Blob(entry.sums.stored), squares: Blob(entry.squares.stored),
                maxima: Blob(entry.maxima.map(\.bitPattern))
            ).put(db)
        }
    }
}

extension Blob {
    /// Counts, each in as many bytes as the greatest needs: 1, 2 or 4.
    init(narrow counts: [UInt32]) {
        switch counts.max() ?? 0 {
        case ...UInt32(UInt8.max): self.init(counts.map { UInt8($0) })
        case ...UInt32(UInt16.max): self.init(counts.map { UInt16($0) })
        default: self.init(counts)
        }
    }

    /// `count` numbers that were stored in as many bytes as the greatest needed; nil if the bytes are
    /// of no such width.
    func narrowNumbers(_ count: Int) -> [UInt32]? {
        switch bytes.count {
        case count: numbers(UInt8.self)?.map { UInt32($0) }
        case 2 * count: numbers(UInt16.self)?.map { UInt32($0) }
        case 4 * count: numbers()
        default: nil
        }
    }
}
