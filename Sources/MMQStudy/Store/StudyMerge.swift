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
        guard let first = sources.first else {
            throw InputError(.badInput, file: output, "nothing to merge")
        }
        for other in sources.dropFirst() { try first.check(against: other) }
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
        let target = output + ".merging"
        try InputLedger.check(output: output)
        try checkReplaced(by: items)
        Study.remove(target)
        do {
            try write(items, sources, to: target, tell)
        } catch {
            Study.remove(target)
            throw error
        }
        try Study.move(target, to: output)
        return result
    }

    /// Which parts of what there are, and where.
    private func plan(_ sources: [MergeSource]) throws -> [MergedItem] {
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

    /// A study that holds more than the merge would bring is not an earlier merge's.
    private func checkReplaced(by items: [MergedItem]) throws {
        guard exists(output) else { return }
        let keys = Set(items.map(\.key))
        if let other = try MergeSource(output).items().first(where: { !keys.contains($0.key) }) {
            throw InputError(
                .alreadyExists, file: output, item: other.key.name,
                "none of the shards holds that: this is another study, and is not replaced")
        }
    }

    private func write(
        _ items: [MergedItem], _ sources: [MergeSource], to target: String,
        _ tell: (String, Double) -> Void
    ) throws {
        let study = try Study(path: target, access: .writing)
        let first = sources[0].study
        try study.copySettings(from: first)
        let work = Double(max(1, items.reduce(0) { $0 + $1.holders.count }))
        var done = 0.0
        for item in items {
            let isCounts = item.key.kind == .counts && !item.parts.isEmpty
            let counts = PassCounts()
            for holder in item.holders {
                let source = sources[holder]
                tell(source.path, done / work)
                if isCounts {
                    if let pass = try source.pass(item.key) {
                        try counts.add(source.study.passCounts(pass))
                    }
                } else {
                    try study.copy(item.key, from: source.study)
                }
                done += 1
            }
            if isCounts, let pass = try sources[item.holders[0]].pass(item.key) {
                try study.commit(pass, counts)
            }
            try study.atomically { for part in item.kept { try study.store(part) } }
        }
        if !items.contains(where: { $0.key.kind == .counts && !$0.parts.isEmpty }) {
            let sets = try sources.map { try $0.study.identificationRows() }
            if let known = sets.firstIndex(where: { !$0.isEmpty }) {
                for (index, other) in sets.enumerated() where !other.isEmpty && other != sets[known]
                {
                    throw InputError(
                        .mismatch, file: files[index],
                        "holds other neuron sets than \(files[known])")
                }
                try study.copyIdentifications(from: sources[known].study)
            }
        }
        try study.close()
    }
}

/// A study to merge.
private struct MergeSource {
    let path: String
    let study: Study

    init(_ path: String) throws {
        self.path = path
        study = try Study(path: path, access: .reading)
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

    func pass(_ item: StudyItem) throws -> PassState? {
        try study.pass(
            domain: item.domain, split: item.split,
            form: PromptForm(rawValue: item.setting) ?? .simple)
    }
}

/// One item in all files.
private struct MergedItem {
    /// The row that says how it was made, and how far it goes.
    enum Head: Equatable {
        case pass(PassState)
        case answers(AnswerSet)
        case lens(LensPass)
    }

    let key: StudyItem
    private let head: Head
    /// The files that hold all of it.
    private var whole: [Int] = []
    /// Part → the files that hold it, with its row.
    private(set) var parts: [Int: [(file: Int, row: ShardProgress)]] = [:]
    private var count: Int?
    private var goal: String?
    /// The files whose rows are taken.
    private(set) var holders: [Int] = []
    /// The rows of `shard` that stay, because parts are missing.
    private(set) var kept: [ShardProgress] = []
    /// What is not there, a line each.
    private(set) var missing: [String] = []

    init(key: StudyItem, head: Head) {
        self.key = key
        self.head = head
    }

    /// A file's share.
    mutating func add(_ other: Head, from file: Int, _ source: MergeSource) throws {
        func fault(_ problem: String) -> InputError {
            InputError(.mismatch, file: source.path, item: key.name, problem)
        }
        let rows = try source.study.shards(of: key)
        let isUnfinished = rows.contains { !$0.finished }
        if let problem = Self.difference(head, other, isUnfinished: isUnfinished) {
            throw fault(problem)
        }
        guard let first = rows.first else { return whole.append(file) }
        if let count, count != first.parts {
            throw fault("a shard of \(first.parts), others are of \(count)")
        }
        if let goal, goal != first.goal {
            throw fault("goes to \(first.goal), others to \(goal)")
        }
        (count, goal) = (first.parts, first.goal)
        for row in rows { parts[row.part, default: []].append((file, row)) }
    }

    /// How it was made must be the same everywhere, and how far it goes where it is finished.
    private static func difference(_ a: Head, _ b: Head, isUnfinished: Bool) -> String? {
        switch (a, b) {
        case (.answers(let a), .answers(let b)):
            if a.bench != b.bench { return "answers to other annotations" }
            if a.options != b.options { return "made with other options (\(b.options))" }
            if a.model != b.model { return "answers of another model (\(b.model))" }
            return a == b ? nil : "made with other neurons masked"
        case (.pass(let a), .pass(let b)):
            if a.bench != b.bench { return "counted from other annotations" }
            if a.blocks != b.blocks || a.apart != b.apart { return "counted in other blocks" }
            return nil
        case (.lens(let a), .lens(let b)):
            if a.bench != b.bench { return "measured with other annotations" }
            return a.options == b.options ? nil : "measured with other settings (\(b.options))"
        default: return "another kind of item"
        }
    }

    /// Decides what is taken from where.
    mutating func settle(_ sources: [MergeSource], partial: Bool) throws {
        if let first = whole.first {
            // Copies that every file brought along, or the result among its own parts.
            let digest = try sources[first].study.digest(of: key)
            for file in whole.dropFirst() {
                guard try sources[file].study.digest(of: key) == digest else {
                    throw InputError(
                        .mismatch, file: sources[file].path, item: key.name,
                        "holds something else than \(sources[first].path)")
                }
            }
            if let other = parts.values.first?.first {
                throw InputError(
                    .mismatch, file: sources[other.file].path, item: key.name,
                    "holds a part of what \(sources[first].path) holds all of")
            }
            holders = [first]
            return
        }
        guard let count else { return }
        var taken: Set<Int> = []
        var rows: [ShardProgress] = []
        for (_, holdings) in parts.sorted(by: { $0.key < $1.key }) {
            guard let first = holdings.first(where: { taken.contains($0.file) }) ?? holdings.first
            else { continue }
            if holdings.count > 1 { try checkSame(holdings, sources) }
            taken.insert(first.file)
            rows.append(first.row)
        }
        // A merge that overlaps another in some parts only cannot be taken apart.
        let all = taken.flatMap { file in
            parts.filter { $0.value.contains { $0.file == file } }.keys
        }
        if Set(all).count < all.count {
            throw InputError(
                .mismatch, file: sources[taken.sorted()[0]].path, item: key.name,
                "merges that overlap in some of their parts cannot be merged")
        }
        let unfinished = rows.filter { !$0.finished }
        missing = unfinished.map {
            "shard \($0.part)/\(count): \(key.name), \($0.total - $0.done) of \($0.total) samples left"
        }
        let lacking = (1...count).filter { parts[$0] == nil }
        if !lacking.isEmpty {
            let names = lacking.prefix(20).map { "\($0)/\(count)" }.joined(separator: ", ")
            missing.append(
                "\(lacking.count == 1 ? "shard" : "shards") \(names)"
                    + (lacking.count > 20 ? " and \(lacking.count - 20) more" : "")
                    + ": \(key.name)")
        }
        if partial, !unfinished.isEmpty {
            throw InputError(.mismatch, file: sources[0].path, missing.joined(separator: "; "))
        }
        holders = taken.sorted()
        if unfinished.isEmpty { try checkEnds(sources) }
        if !lacking.isEmpty {
            kept = try rows.map { row in
                var row = row
                if row.digest == nil, let file = parts[row.part]?.first?.file {
                    row.digest = try sources[file].study.digest(of: key)
                }
                return row
            }
        }
    }

    /// A part that is there more than once must be the same.
    private func checkSame(
        _ holdings: [(file: Int, row: ShardProgress)], _ sources: [MergeSource]
    ) throws {
        let digests = try holdings.map { holding in
            try holding.row.digest ?? sources[holding.file].study.digest(of: key)
        }
        if let other = digests.firstIndex(where: { $0 != digests[0] }) {
            throw InputError(
                .mismatch, file: sources[holdings[other].file].path, item: key.name,
                "shard \(holdings[0].row.part)/\(holdings[0].row.parts) with other content than in "
                    + sources[holdings[0].file].path)
        }
    }

    /// All parts have seen the bench up to the same place.
    private func checkEnds(_ sources: [MergeSource]) throws {
        var ends: [(file: Int, head: Head)] = []
        for file in holders {
            for (other, head) in try sources[file].items() where other == key {
                ends.append((file, head))
            }
        }
        if let other = ends.first(where: { $0.head != ends[0].head }) {
            throw InputError(
                .mismatch, file: sources[other.file].path, item: key.name,
                "ends at another sample than \(sources[ends[0].file].path): were pictures missing on "
                    + "one machine?")
        }
    }
}

extension StudyItem {
    /// Where it comes in a merged study: as one run after the other would have made it.
    fileprivate var order: (Int, Int, String, String) {
        (Kind.allCases.firstIndex(of: kind) ?? 0, domain.place, split, setting)
    }
}
