import GRDB
import MMQBase

/// Something that a study holds of a domain: what a run fills, and shards share.
public struct StudyItem: Sendable, Hashable, Codable {
    /// What it is.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// How often neurons fired.
        case counts
        /// Answers under a mask setting.
        case answers
        /// The logit lens.
        case lens
        /// How far masks move the hidden states.
        case deviation
    }

    /// What it is.
    public let kind: Kind
    /// The domain.
    public let domain: Domain
    /// The split.
    public let split: String
    /// The mask setting; of counts the form of the prompt.
    public let setting: String

    /// Its name for messages: `ad val, answers under all`.
    public var name: String {
        let place = "\(domain.rawValue) \(split)"
        return switch kind {
        case .counts: place
        case .answers: "\(place), answers under \(setting)"
        case .lens: "\(place), lens under \(setting)"
        case .deviation: "\(place), deviation under \(setting)"
        }
    }

    init(_ pass: PassState) {
        (kind, domain, split, setting) = (.counts, pass.domain, pass.split, pass.form.rawValue)
    }

    init(_ set: AnswerSet) {
        (kind, domain, split, setting) = (.answers, set.domain, set.split, set.setting)
    }

    init(_ pass: LensPass) {
        kind = pass.kind == .lens ? .lens : .deviation
        (domain, split, setting) = (pass.domain, pass.split, pass.setting)
    }
}

/// How far a shard's part of an item has come: a row of `shard`.
public struct ShardProgress: Sendable, Equatable, Codable {
    /// What is filled.
    public let kind: StudyItem.Kind
    /// Of which domain.
    public let domain: Domain
    /// Of which split.
    public let split: String
    /// Under which setting; of counts the form of the prompt.
    public let setting: String
    /// Which part, from 1.
    public let part: Int
    /// Of how many.
    public let parts: Int
    /// How far all parts go together: `100 samples`.
    public var goal: String
    /// The place in the bench's order that the run had come to when the part was finished; nil
    /// where it is not, or an older mmq made it.
    public var cursor: Int?
    /// Samples of this part that are done.
    public var done = 0
    /// Samples that this part has up to the goal.
    public var total = 0
    /// Whether the goal is reached, or the bench ended.
    public var finished = false
    /// Seconds spent, to tell the time left.
    public var seconds = 0.0
    /// What was found, in a short text that changes with it; nil where nobody asked yet.
    public var digest: String?

    /// The item.
    public var item: StudyItem {
        StudyItem(kind: kind, domain: domain, split: split, setting: setting)
    }
    /// Which shard.
    public var shard: Shard? { Shard(part, of: parts) }
    /// Seconds that are left at the pace so far; nil where nothing was done yet.
    public var secondsLeft: Double? {
        finished || done >= total
            ? 0 : done > 0 ? seconds / Double(done) * Double(total - done) : nil
    }

    init(_ item: StudyItem, _ shard: Shard, goal: String) {
        (kind, domain, split, setting) = (item.kind, item.domain, item.split, item.setting)
        (part, parts) = (shard.number, shard.count)
        self.goal = goal
    }
}

extension StudyItem {
    init(kind: Kind, domain: Domain, split: String, setting: String) {
        (self.kind, self.domain, self.split, self.setting) = (kind, domain, split, setting)
    }
}

extension ShardProgress: StudyRow {
    static let table = "shard"

    var damage: String? {
        if shard == nil { return "part \(part) of \(parts)" }
        guard (0...Double(StudyLimit.amount)).contains(seconds) else {
            return "seconds is \(seconds)"
        }
        return firstBeyond(("cursor", cursor ?? 0), ("done", done), ("total", total))
    }
}

extension Study {
    /// How far shards have come, by domain, kind, setting and part; nothing in a study that holds no
    /// shard.
    public func shards() throws -> [ShardProgress] {
        try read { db in
            try ShardProgress.all(
                db, "SELECT * FROM shard ORDER BY kind, domain, split, setting, part")
        }
    }

    /// The part of a pass that the study holds; nil where it holds all of it.
    public func shard(of pass: PassState) throws -> ShardProgress? {
        try shards(of: StudyItem(pass)).first
    }

    /// Parts of an item that the study holds; none where it holds all of it, or nothing.
    func shards(of item: StudyItem) throws -> [ShardProgress] {
        try read { db in
            try ShardProgress.all(
                db,
                """
                SELECT * FROM shard WHERE kind = ? AND domain = ? AND split = ? AND setting = ?
                ORDER BY part
                """, [item.kind.rawValue, item.domain.rawValue, item.split, item.setting])
        }
    }

    /// Where a run over an item stands as a shard, or as the whole.
    ///
    /// - Parameters:
    ///   - isThere: whether the study holds the item already.
    ///   - goal: how far the run goes.
    /// - Returns: nil for the whole.
    /// - Throws: `InputError`, `.mismatch` if the study holds another part of it.
    func progress(
        of item: StudyItem, as shard: Shard?, isThere: Bool, goal: String
    ) throws -> ShardProgress? {
        let held = try shards(of: item)
        let names = held.map { "\($0.part)/\($0.parts)" }.joined(separator: ", ")
        guard let shard else {
            guard held.isEmpty else {
                throw InputError(
                    .mismatch, file: path, item: item.name,
                    "holds shard \(names); go on with \(CommandHint.shard) \(names), or merge")
            }
            return nil
        }
        guard let first = held.first else {
            guard !isThere else {
                throw InputError(
                    .mismatch, file: path, item: item.name,
                    "holds all of it, not shard \(shard)")
            }
            return ShardProgress(item, shard, goal: goal)
        }
        guard held.count == 1, first.shard == shard else {
            throw InputError(
                .mismatch, file: path, item: item.name, "holds shard \(names), not \(shard)")
        }
        var progress = first
        if progress.goal != goal {
            progress.goal = goal
            progress.finished = false
            progress.cursor = nil
        }
        return progress
    }

    /// Stores how far a shard has come.
    func store(_ progress: ShardProgress) throws {
        try write { try progress.put($0) }
    }

    /// Forgets the parts of an item that goes.
    func removeShards(_ db: Database, of item: StudyItem) throws {
        try db.change(
            "DELETE FROM shard WHERE kind = ? AND domain = ? AND split = ? AND setting = ?",
            [item.kind.rawValue, item.domain.rawValue, item.split, item.setting])
    }

    /// What the study holds, with the samples of each and whether its goal is known to be reached.
    public func contents() throws -> [(item: StudyItem, samples: Int, finished: Bool?)] {
        try passes().map { (StudyItem($0), $0.samples, $0.finished) }
            + storedAnswerSets().map {
                (
                    StudyItem($0),
                    try answeredPositions(
                        domain: $0.domain, split: $0.split, setting: $0.setting
                    ).count, nil
                )
            }
            + (lensPasses(.lens) + lensPasses(.deviation)).map { (StudyItem($0), $0.samples, nil) }
    }
}
