import Foundation
import GRDB
import MMQBase

/// How far a pass of the lens, or of the deviation under masks, has come in a domain: a row of
/// `lens_pass`.
public struct LensPass: Sendable, Equatable, Codable {
    /// What is measured.
    public enum Kind: String, Sendable, Codable {
        /// The logit lens.
        case lens
        /// How far masks move the hidden states.
        case deviation
    }

    /// What is measured.
    public let kind: Kind
    /// The domain of the samples.
    public let domain: Domain
    /// The split.
    public let split: String
    /// Which modules' neurons are off: `none`, `all`, ...
    public let setting: String
    /// Identifies the annotations.
    public let bench: String
    /// What the numbers depend on beside that: the lens's vocabulary, the masks.
    public let options: String
    /// The next place in the bench's order.
    public internal(set) var cursor = 0
    /// Samples measured.
    public internal(set) var samples = 0
    /// Samples passed over: their picture is not there, or the model cannot take them.
    public internal(set) var skipped = 0
    /// Places of samples whose picture is not there, ascending; empty in studies of an mmq that did
    /// not keep them.
    public internal(set) var missing: [Int] = []
    /// Whether the bench ended.
    public internal(set) var finished = false

    init(
        kind: Kind, domain: Domain, split: String, setting: String, bench: String, options: String
    ) {
        self.kind = kind
        self.domain = domain
        self.split = split
        self.setting = setting
        self.bench = bench
        self.options = options
    }
}

/// The lens over one sample.
public struct LensSample: Sendable, Equatable {
    /// The place in the bench's order.
    public let place: Int
    /// Which positions hold image tokens, [positions].
    public let isImage: [Bool]
    /// Sums over positions, for each layer first those of image, then those of text positions.
    public let sums: [LensSums]
    /// The most probable token, [layers, positions].
    public let best: [Int32]
}

/// Sums over some positions of one layer.
public struct LensSums: Sendable, Equatable {
    /// Entropies, natural logarithm.
    public var entropy = 0.0
    /// Probabilities of the most probable token.
    public var probability = 0.0
    /// Positions whose most probable token is the last layer's.
    public var agreeing = 0.0
    /// KL(last layer ‖ layer), natural logarithm.
    public var divergence = 0.0

    /// Numbers in a blob.
    static let width = 4
    var numbers: [Double] { [entropy, probability, agreeing, divergence] }

    init() {}

    init(_ numbers: ArraySlice<Double>) {
        let first = numbers.startIndex
        entropy = numbers[first]
        probability = numbers[first + 1]
        agreeing = numbers[first + 2]
        divergence = numbers[first + 3]
    }

    /// Adds other positions'.
    mutating func add(_ other: LensSums) {
        entropy += other.entropy
        probability += other.probability
        agreeing += other.agreeing
        divergence += other.divergence
    }
}

/// How far a domain's mask moves the hidden states of one sample.
public struct DeviationSample: Sendable, Equatable {
    /// The place in the bench's order.
    public let place: Int
    /// The domain whose neurons are off.
    public let mask: Domain
    /// Image positions.
    public let imageTokens: Int
    /// All other positions.
    public let textTokens: Int
    /// Sums over positions, for each layer image cosine, image distance, text cosine, text distance.
    public let sums: [Double]
}

extension LensPass {
    /// What a pass measures of one sample.
    enum Measurement {
        case lens(LensSample)
        /// One for each mask.
        case deviations([DeviationSample])
    }
}

extension LensPass: StudyRow {
    static let table = "lens_pass"

    var damage: String? {
        missing.damage(before: cursor)
            ?? firstBeyond(("cursor", cursor), ("samples", samples), ("skipped", skipped))
    }

    /// The condition that picks a pass's row, and what it asks for.
    fileprivate static let condition = "kind = ? AND domain = ? AND split = ? AND setting = ?"
    fileprivate var key: StatementArguments {
        [kind.rawValue, domain.rawValue, split, setting]
    }
}

/// A row of `lens_sample`.
private struct LensSampleRow: StudyRow {
    static let table = "lens_sample"
    let pass: Int64
    let place: Int
    let kinds: Blob
    let sums: Blob
    let best: Blob

    init(_ sample: LensSample, pass: Int64) {
        self.pass = pass
        place = sample.place
        kinds = Blob(sample.isImage.map { UInt8($0 ? 1 : 0) })
        sums = Blob(sample.sums.flatMap(\.numbers))
        let isNarrow = sample.best.allSatisfy { (0...Int32(UInt16.max)).contains($0) }
        best = isNarrow ? Blob(sample.best.map { UInt16($0) }) : Blob(sample.best)
    }

    /// The sample; nil if the blobs contradict each other.
    var sample: LensSample? {
        guard let kinds: [UInt8] = kinds.numbers(), let sums = sums.doubles(),
            sums.count % (2 * LensSums.width) == 0
        else { return nil }
        let count = sums.count / (2 * LensSums.width) * kinds.count
        guard count > 0 else { return nil }
        let ids: [Int32]? =
            switch best.bytes.count {
            case count * 2: best.numbers(UInt16.self)?.map { Int32($0) }
            case count * 4: best.numbers()
            default: nil
            }
        guard let ids else { return nil }
        return LensSample(
            place: place, isImage: kinds.map { $0 != 0 },
            sums: stride(from: 0, to: sums.count, by: LensSums.width).map {
                LensSums(sums[$0..<$0 + LensSums.width])
            }, best: ids)
    }
}

/// A row of `deviation_sample`.
private struct DeviationRow: StudyRow {
    static let table = "deviation_sample"
    let pass: Int64
    let place: Int
    let mask: Domain
    let imageTokens: Int
    let textTokens: Int
    let sums: Blob

    var damage: String? {
        // Tokens of one sample: those of many are added up.
        if let (name, tokens) = [("image_tokens", imageTokens), ("text_tokens", textTokens)]
            .first(where: { !(0...Int(UInt32.max)).contains($0.1) })
        {
            return "\(name) is \(tokens)"
        }
        return firstBeyond(("place", place))
    }
}

extension Study {
    /// Passes of a kind that the study holds, in the order of the domains.
    public func lensPasses(_ kind: LensPass.Kind) throws -> [LensPass] {
        try read { db in
            try LensPass.all(db, "SELECT * FROM lens_pass ORDER BY id")
        }.filter { $0.kind == kind }.sorted { $0.domain.place < $1.domain.place }
    }

    /// A pass, if there is one.
    public func lensPass(
        _ kind: LensPass.Kind, domain: Domain, split: String, setting: String
    ) throws -> LensPass? {
        try lensPasses(kind).first {
            $0.domain == domain && $0.split == split && $0.setting == setting
        }
    }

    /// Places of the samples that a pass of the lens holds, ascending.
    func lensPlaces(_ pass: LensPass) throws -> [Int] {
        try read { db in
            try Int.fetchAll(
                db,
                sql: """
                    SELECT place FROM lens_sample JOIN lens_pass ON pass = id
                    WHERE \(LensPass.condition) ORDER BY place
                    """, arguments: pass.key)
        }
    }

    /// One sample of a pass of the lens; nil if the pass does not hold it. One at a time: their
    /// ids take 200 KB each.
    public func lensSample(_ pass: LensPass, place: Int) throws -> LensSample? {
        let row = try read { db in
            try LensSampleRow.first(
                db,
                """
                SELECT lens_sample.* FROM lens_sample JOIN lens_pass ON pass = id
                WHERE \(LensPass.condition) AND place = ?
                """, pass.key + [place])
        }
        guard let row else { return nil }
        guard let sample = row.sample else {
            throw damaged(
                LensSampleRow.table, "sample \(place) of \(pass.domain.rawValue) does not add up")
        }
        return sample
    }

    /// The samples of a pass of the deviation, by place and mask.
    public func deviationSamples(_ pass: LensPass) throws -> [DeviationSample] {
        let rows = try read { db in
            try DeviationRow.all(
                db,
                """
                SELECT deviation_sample.* FROM deviation_sample JOIN lens_pass ON pass = id
                WHERE \(LensPass.condition) ORDER BY place, mask
                """, pass.key)
        }
        return try rows.map { row in
            guard let sums = row.sums.doubles() else {
                throw damaged(
                    DeviationRow.table, "\(row.sums.bytes.count) bytes of 8-byte numbers")
            }
            return DeviationSample(
                place: row.place, mask: row.mask, imageTokens: row.imageTokens,
                textTokens: row.textTokens, sums: sums)
        }
    }

    /// Stores where a pass stands and what it measured last, both or neither.
    func commit(_ pass: LensPass, _ measured: LensPass.Measurement? = nil) throws {
        try write { db in
            try pass.put(db)
            guard
                let id = try Int64.fetchOne(
                    db, sql: "SELECT id FROM lens_pass WHERE \(LensPass.condition)",
                    arguments: pass.key)
            else { return }
            switch measured {
            case nil: break
            case .lens(let sample): try LensSampleRow(sample, pass: id).record.insert(db)
            case .deviations(let samples):
                for sample in samples {
                    try DeviationRow(
                        pass: id, place: sample.place, mask: sample.mask,
                        imageTokens: sample.imageTokens, textTokens: sample.textTokens,
                        sums: Blob(sample.sums)
                    ).record.insert(db)
                }
            }
        }
    }

    /// Drops a pass and what it measured.
    func remove(_ pass: LensPass) throws {
        try write { db in
            try db.change("DELETE FROM lens_pass WHERE \(LensPass.condition)", pass.key)
            try removeShards(db, of: StudyItem(pass))
        }
    }
}
