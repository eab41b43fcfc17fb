import Foundation
import GRDB
import MMQBase
import MMQModels

/// Shards of a study put together, exactly: every table is that of one run over the whole bench.
///
/// Counts are integers and sums of activations are exact (`ExactSums`), so neither the number of
/// shards nor the order in which they are merged shows. What is not sharded, such as the counts
/// that every copy of a study brings along, has to be the same in all files.
public struct StudyMerge {
    /// What came of it.
    public struct Result: Sendable, Codable {
        /// What was put together, and of how many parts; 1 for what was whole.
        public struct Entry: Sendable, Codable {
            /// Its name, as messages have it.
            public let name: String
            /// Parts.
            public let parts: Int
        }

        /// The study that was written.
        public let output: String
        /// What it holds.
        public internal(set) var items: [Entry] = []
        /// What is not complete, a line each; empty unless parts were allowed.
        public internal(set) var missing: [String] = []
    }

    private let files: [String]
    private let output: String
    private let partial: Bool

    /// - Parameters:
    ///   - files: shards, or merges of shards.
    ///   - output: the study to write. What an earlier merge wrote there is replaced.
    ///   - partial: whether parts may be missing; the result is then a larger shard.
    public init(_ files: [String], output: String, partial: Bool = false) {
        self.files = files
        self.output = output
        self.partial = partial
    }

    /// Merges.
    ///
    /// - Parameter tell: told the file at hand and the part that is done, 0...1.
    /// - Throws: `InputError`, `.mismatch` if files are of different models, benches or settings, or if
    ///   something is missing; nothing is written then.
    public func run(tell: (String, Double) -> Void = { _, _ in }) throws -> Result {
        let sources = try files.map { try MergeSource($0) }
        let items = try plan(sources)
        var result = Result(output: output)
        for item in items {
            result.missing += item.missing
            result.items.append(.init(name: item.key.name, parts: max(1, item.parts.count)))
        }
        guard partial || result.missing.isEmpty else {
            throw InputError(
                .mismatch, file: output,
                "not complete: \(result.missing.joined(separator: "; ")) "
                    + "(\(CommandHint.partial) merges what there is)")
        }
        let target = try linkTarget(of: output) + ".merging"
        try InputLedger.check(output: output)
        try InputLedger.check(output: target)
        try checkReplaced(by: items, sources)
        // Locked from here on: what another merge is writing is not touched.
        let study = try Study(path: target, access: .replacing)
        do {
            try study.copySettings(from: sources[0].study)
            try write(items, sources, to: study, tell)
            try study.close()
            try Study.move(target, to: output)
        } catch {
            Study.remove(target)
            throw error
        }
        return result
    }

    /// Which parts of what there are, and where.
    ///
    /// - Throws: `InputError`, `.mismatch` if the files are not of one model or one run.
    func plan(_ sources: [MergeSource]) throws -> [MergedItem] {
        guard let first = sources.first else {
            throw InputError(.badInput, file: output, "nothing to merge")
        }
        for other in sources.dropFirst() { try first.check(against: other) }
        var items: [StudyItem: MergedItem] = [:]
        var order: [StudyItem] = []
        for (index, source) in sources.enumerated() {
            for (key, head) in try source.items() {
                if items[key] == nil { order.append(key) }
                var item = items[key] ?? MergedItem(key: key, head: head)
                try item.add(head, from: index, source)
                items[key] = item
            }
        }
        // Shards that never began an item hold nothing of it.
        return try order.sorted { $0.order < $1.order }.map { key in
            guard var item = items[key] else { preconditionFailure("an item without an entry") }
            try item.settle(sources, partial: partial)
            return item
        }
    }

    /// What lies at the output is replaced only if it can be an earlier merge: it holds nothing that
    /// the new one would not bring.
    private func checkReplaced(by items: [MergedItem], _ sources: [MergeSource]) throws {
        guard exists(output) else { return }
        func kept(_ item: String, _ why: String) -> InputError {
            InputError(
                .alreadyExists, file: output, item: item,
                "\(why): this is another study, and is not replaced")
        }
        let old = try MergeSource(output)
        do {
            try sources[0].check(against: old)
        } catch let error as InputError {
            throw kept(error.item ?? "model", error.problem)
        }
        let new = Dictionary(uniqueKeysWithValues: items.map { ($0.key, $0) })
        for (key, head) in try old.items() {
            guard let item = new[key] else { throw kept(key.name, "none of the shards holds that") }
            if let difference = item.difference(to: head) { throw kept(key.name, difference) }
            guard item.covers(try old.study.shards(of: key), samples: try old.samples(of: key))
            else { throw kept(key.name, "holds more samples than the shards") }
        }
        let sets = try old.study.identificationRows()
        guard try sets.isEmpty || neuronSets(items, sources)?.rows == sets else {
            throw kept("neuron sets", "holds neuron sets that the shards do not hold")
        }
    }

    /// The neuron sets that go into the merge: those that every study brought along. Sets that were
    /// found from a part of the counts are not those of the whole.
    private func neuronSets(
        _ items: [MergedItem], _ sources: [MergeSource]
    ) throws -> (rows: [String], source: MergeSource)? {
        guard !items.contains(where: \.addsCounts) else { return nil }
        var known: (rows: [String], source: MergeSource)?
        for source in sources {
            let rows = try source.study.identificationRows()
            guard !rows.isEmpty else { continue }
            if let known, known.rows != rows {
                throw InputError(
                    .mismatch, file: source.path,
                    "holds other neuron sets than \(known.source.path)")
            }
            known = known ?? (rows, source)
        }
        return known
    }

    /// Writes what is planned into a study of the same model.
    func write(
        _ items: [MergedItem], _ sources: [MergeSource], to study: Study,
        _ tell: (String, Double) -> Void = { _, _ in }
    ) throws {
        let work = Double(max(1, items.reduce(0) { $0 + $1.holders.count }))
        var done = 0.0
        for item in items {
            let isCounts = item.addsCounts
            let counts = PassCounts()
            var moments: PassMoments?
            for holder in item.holders {
                let source = sources[holder]
                tell(source.path, done / work)
                if isCounts {
                    if let pass = try source.pass(item.key) {
                        try counts.add(source.study.passCounts(pass))
                        let more = try source.study.passMoments(pass)
                        try moments?.add(more)
                        moments = moments ?? more.unstored()
                    }
                } else {
                    try study.copy(item.key, from: source.study)
                }
                done += 1
            }
            if isCounts, let pass = try sources[item.holders[0]].pass(item.key) {
                try study.commit(pass, counts, moments)
            }
            try study.atomically { for part in item.kept { try study.store(part) } }
        }
        if let sets = try neuronSets(items, sources) {
            try study.copyIdentifications(from: sets.source.study)
        }
    }
}

/// A study to merge.
struct MergeSource {
    let path: String
    let study: Study

    init(_ path: String) throws {
        try self.init(path, Study(path: path, access: .reading))
    }

    init(_ path: String, _ study: Study) {
        self.path = path
        self.study = study
    }

    /// Both are of one model.
    func check(against other: MergeSource) throws {
        guard try study.modules() == other.study.modules() else {
            throw InputError(
                .mismatch, file: other.path, item: "model",
                "made with modules of other shapes than \(path)")
        }
        let (mine, theirs) = (try study.settings(), try other.study.settings())
        for key in Set(mine.keys).union(theirs.keys).sorted() where mine[key] != theirs[key] {
            throw InputError(
                .mismatch, file: other.path, item: key,
                expected: "\(mine[key] ?? "nothing"), as \(path) has it",
                found: theirs[key] ?? "nothing")
        }
    }

    func items() throws -> [(key: StudyItem, head: MergedItem.Head)] {
        try study.passes().map { (StudyItem($0), .pass($0)) }
            + study.storedAnswerSets().map { (StudyItem($0), .answers($0)) }
            + (study.lensPasses(.lens) + study.lensPasses(.deviation))
            .map { (StudyItem($0), .lens($0)) }
    }

    /// Samples that are done of an item, of all parts that the file holds.
    func samples(of key: StudyItem) throws -> Int {
        let parts = try study.shards(of: key)
        return try parts.isEmpty
            ? study.contents().first { $0.item == key }?.samples ?? 0
            : parts.reduce(0) { $0 + $1.done }
    }

    func pass(_ item: StudyItem) throws -> PassState? {
        try study.pass(
            domain: item.domain, split: item.split,
            form: PromptForm(rawValue: item.setting) ?? .simple)
    }
}

extension StudyItem {
    /// Where it comes in a merged study: as one run after the other would have made it.
    fileprivate var order: (Int, Int, String, String) {
        (Kind.allCases.firstIndex(of: kind) ?? 0, domain.place, split, setting)
    }
}
