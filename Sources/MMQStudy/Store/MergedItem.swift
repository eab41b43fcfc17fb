import MMQBase

/// One item in all files.
struct MergedItem {
    /// The row that says how it was made, and how far it goes.
    enum Head: Equatable {
        case pass(PassState)
        case answers(AnswerSet)
        case lens(LensPass)

        /// Whether two parts have come to the same place and left out the same samples. An older mmq
        /// kept only how many.
        static func endAlike(_ a: Head?, _ b: Head?) -> Bool {
            switch (a, b) {
            case (.pass(var a), .pass(var b)):
                if a.missing.isEmpty || b.missing.isEmpty { (a.missing, b.missing) = ([], []) }
                return a == b
            case (.lens(var a), .lens(var b)):
                if a.missing.isEmpty || b.missing.isEmpty { (a.missing, b.missing) = ([], []) }
                return a == b
            default: return a == b
            }
        }
    }

    let key: StudyItem
    private let head: Head
    /// File → its row.
    private var heads: [Int: Head] = [:]
    /// Samples of all of it that are done.
    private var samples = 0
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

    /// Whether parts of counts are added up; rows of other items are copied.
    var addsCounts: Bool { key.kind == .counts && !parts.isEmpty }

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
        if let problem = difference(to: other) { throw fault(problem) }
        heads[file] = other
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

    /// What another row says of how the item was made that this one does not; nil if it says the
    /// same.
    func difference(to other: Head) -> String? {
        switch (head, other) {
        case (.answers(let a), .answers(let b)):
            if a.bench != b.bench { return "answers to other annotations" }
            if a.options != b.options { return "made with other options (\(b.options))" }
            if a.model != b.model { return "answers of another model (\(b.model))" }
            return a == b ? nil : "made with other neurons masked"
        case (.pass(let a), .pass(let b)):
            if a.bench != b.bench { return "counted from other annotations" }
            if a.blocks != b.blocks || a.apart != b.apart { return "counted in other blocks" }
            if a.keepTop != b.keepTop {
                return "keeps \(b.keepTop) activations of a neuron, others \(a.keepTop)"
            }
            return nil
        case (.lens(let a), .lens(let b)):
            if a.bench != b.bench { return "measured with other annotations" }
            return a.options == b.options ? nil : "measured with other settings (\(b.options))"
        default: return "another kind of item"
        }
    }

    /// Whether nothing of what another file holds is missing here: parts and their samples, or, where
    /// it has no parts, all of it.
    func covers(_ others: [ShardProgress], samples those: Int) -> Bool {
        guard those <= samples else { return false }
        guard !parts.isEmpty else { return true }
        return others.isEmpty
            ? missing.isEmpty
            : others.allSatisfy { other in
                parts[other.part]?.contains {
                    $0.row.parts == other.parts && $0.row.done >= other.done
                } ?? false
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
            samples = try sources[first].samples(of: key)
            return
        }
        guard let count else { return }
        for holdings in parts.values where holdings.count > 1 { try checkSame(holdings, sources) }
        guard let cover = cover() else {
            // A merge that overlaps another in some parts only cannot be taken apart.
            let largest = held.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }
            throw InputError(
                .mismatch, file: sources[largest?.key ?? 0].path, item: key.name,
                "merges that overlap in some of their parts cannot be merged")
        }
        holders = cover.sorted()
        // Of parts that are there more than once, as the holder has them.
        let taken = parts.mapValues { holdings in
            holdings.first { cover.contains($0.file) } ?? holdings[0]
        }
        let rows = taken.values.map(\.row).sorted { $0.part < $1.part }
        samples = rows.reduce(0) { $0 + $1.done }
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
        if unfinished.isEmpty { try checkEnds(taken.values.map { $0 }, sources) }
        if !lacking.isEmpty {
            kept = try rows.map { row in
                var row = row
                if row.digest == nil, let file = taken[row.part]?.file {
                    row.digest = try sources[file].study.digest(of: key)
                }
                return row
            }
        }
    }

    /// File → the parts that it holds.
    private var held: [Int: Set<Int>] {
        parts.reduce(into: [:]) { held, entry in
            for holding in entry.value { held[holding.file, default: []].insert(entry.key) }
        }
    }

    /// Files that together hold every part once, larger merges before smaller ones; nil if there are
    /// none.
    private func cover() -> Set<Int>? {
        let held = held
        let files = held.keys.sorted {
            (-held[$0, default: []].count, $0) < (-held[$1, default: []].count, $1)
        }
        var taken: Set<Int> = []
        var covered: Set<Int> = []
        for file in files where covered.isDisjoint(with: held[file, default: []]) {
            taken.insert(file)
            covered.formUnion(held[file, default: []])
        }
        if covered.count == parts.count { return taken }
        // A large merge stood in the way of others. Those that overlap in many ways could be put
        // together in very many.
        var tries = 1_000
        func search(_ taken: Set<Int>, _ covered: Set<Int>) -> Set<Int>? {
            guard let open = parts.keys.filter({ !covered.contains($0) }).min() else {
                return taken
            }
            for file in files where tries > 0 {
                guard let parts = held[file], parts.contains(open), covered.isDisjoint(with: parts)
                else { continue }
                tries -= 1
                if let found = search(taken.union([file]), covered.union(parts)) { return found }
            }
            return nil
        }
        return search([], [])
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
    private func checkEnds(
        _ taken: [(file: Int, row: ShardProgress)], _ sources: [MergeSource]
    ) throws {
        // An older mmq stored no place.
        let ends = taken.filter { $0.row.cursor != nil }.sorted { $0.row.part < $1.row.part }
        let other =
            ends.first { $0.row.cursor != ends[0].row.cursor }?.file
            ?? holders.first { !Head.endAlike(heads[$0], heads[holders[0]]) }
        if let other {
            throw InputError(
                .mismatch, file: sources[other].path, item: key.name,
                "ends at another sample than \(sources[ends.first?.file ?? holders[0]].path): were "
                    + "pictures missing on one machine?")
        }
    }
}
