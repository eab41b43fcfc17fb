import Foundation
import GRDB
import MMQBase
import MMQModels

/// How far a pass of the lens, or of the deviation under masks, has come in a domain.
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
    /// Samples passed over because their picture is not there.
    public internal(set) var skipped = 0
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

enum LensSchema {
    static func register(_ migrator: inout DatabaseMigrator) {
        migrator.registerMigration("lens and deviation") { db in
            try db.execute(
                sql: """
                    -- kind: lens or deviation. `cursor` only ever changes together with the samples.
                    CREATE TABLE lens_pass (
                        id INTEGER PRIMARY KEY,
                        kind TEXT NOT NULL, domain TEXT NOT NULL, split TEXT NOT NULL,
                        setting TEXT NOT NULL, bench TEXT NOT NULL, options TEXT NOT NULL,
                        cursor INTEGER NOT NULL, samples INTEGER NOT NULL,
                        skipped INTEGER NOT NULL, finished INTEGER NOT NULL,
                        UNIQUE (kind, domain, split, setting)) STRICT;
                    -- kinds: a byte per position, 1 = image. sums: float64 [layers, image | text,
                    -- entropy | probability | agreeing | divergence]. best: uint16 or int32 ids
                    -- [layers, positions]. All little-endian.
                    CREATE TABLE lens_sample (
                        pass INTEGER NOT NULL REFERENCES lens_pass(id) ON DELETE CASCADE,
                        place INTEGER NOT NULL,
                        kinds BLOB NOT NULL, sums BLOB NOT NULL, best BLOB NOT NULL,
                        PRIMARY KEY (pass, place)) STRICT;
                    -- sums: float64 [layers, image | text, cosine | distance]
                    CREATE TABLE deviation_sample (
                        pass INTEGER NOT NULL REFERENCES lens_pass(id) ON DELETE CASCADE,
                        place INTEGER NOT NULL, mask TEXT NOT NULL,
                        image_tokens INTEGER NOT NULL, text_tokens INTEGER NOT NULL,
                        sums BLOB NOT NULL,
                        PRIMARY KEY (pass, place, mask)) STRICT;
                    """)
        }
    }
}

extension Study {
    /// Passes of a kind that the study holds, in the order of the domains.
    public func lensPasses(_ kind: LensPass.Kind) throws -> [LensPass] {
        try read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM lens_pass WHERE kind = ? ORDER BY id",
                arguments: [kind.rawValue]
            ).map(Self.lensPass)
        }.sorted { $0.domain.place < $1.domain.place }
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
                db, sql: "SELECT place FROM lens_sample WHERE pass = \(Self.passID) ORDER BY place",
                arguments: Self.key(pass))
        }
    }

    /// One sample of a pass of the lens; nil if the pass does not hold it. One at a time: their
    /// ids take 200 KB each.
    public func lensSample(_ pass: LensPass, place: Int) throws -> LensSample? {
        let row = try read { db in
            try Row.fetchOne(
                db,
                sql: "SELECT * FROM lens_sample WHERE pass = \(Self.passID) AND place = ?",
                arguments: Self.key(pass) + [place])
        }
        guard let row else { return nil }
        let kinds: Data = row["kinds"]
        let sums = try doubles(row["sums"])
        let layers = sums.count / (2 * LensSums.width)
        let best: Data = row["best"]
        let count = layers * kinds.count
        guard sums.count % (2 * LensSums.width) == 0, count > 0,
            best.count == count * 2 || best.count == count * 4
        else {
            throw InputError(
                .badInput, file: path, item: pass.domain.rawValue,
                "sample \(place) of the lens is damaged")
        }
        let ids: [Int32] =
            best.count == count * 2
            ? elements(best, UInt16(0)).map { Int32($0) } : elements(best, Int32(0))
        return LensSample(
            place: place, isImage: kinds.map { $0 != 0 },
            sums: stride(from: 0, to: sums.count, by: LensSums.width).map {
                LensSums(sums[$0..<$0 + LensSums.width])
            }, best: ids)
    }

    /// The samples of a pass of the deviation, by place and mask.
    public func deviationSamples(_ pass: LensPass) throws -> [DeviationSample] {
        let rows = try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT * FROM deviation_sample WHERE pass = \(Self.passID)
                    ORDER BY place, mask
                    """, arguments: Self.key(pass))
        }
        return try rows.map { row in
            let name: String = row["mask"]
            guard let mask = Domain(rawValue: name) else {
                throw InputError(.badInput, file: path, item: name, "not a domain")
            }
            let image: Int = row["image_tokens"]
            let text: Int = row["text_tokens"]
            guard (0...Int(Int32.max)).contains(image), (0...Int(Int32.max)).contains(text) else {
                throw InputError(
                    .badInput, file: path, item: name,
                    "a damaged study file: \(image) image and \(text) text tokens")
            }
            return DeviationSample(
                place: row["place"], mask: mask, imageTokens: image, textTokens: text,
                sums: try doubles(row["sums"]))
        }
    }

    /// Stores where a pass stands and what it measured last, both or neither.
    func commit(
        _ pass: LensPass, lens: LensSample? = nil, deviations: [DeviationSample] = []
    ) throws {
        try write { db in
            try db.execute(
                sql: """
                    INSERT INTO lens_pass (kind, domain, split, setting, bench, options, cursor,
                        samples, skipped, finished)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (kind, domain, split, setting) DO UPDATE SET
                        cursor = excluded.cursor, samples = excluded.samples,
                        skipped = excluded.skipped, finished = excluded.finished
                    """,
                arguments: Self.key(pass) + [
                    pass.bench, pass.options, pass.cursor, pass.samples, pass.skipped,
                    pass.finished ? 1 : 0,
                ])
            if let lens {
                let sums = lens.sums.flatMap(\.numbers)
                let narrow = lens.best.allSatisfy { (0...Int32(UInt16.max)).contains($0) }
                try db.execute(
                    sql: "INSERT INTO lens_sample VALUES (\(Self.passID), ?, ?, ?, ?)",
                    arguments: Self.key(pass) + [
                        lens.place, Data(lens.isImage.map { $0 ? 1 : 0 }), blob(sums),
                        narrow ? blob(lens.best.map { UInt16($0) }) : blob(lens.best),
                    ])
            }
            for entry in deviations {
                try db.execute(
                    sql: "INSERT INTO deviation_sample VALUES (\(Self.passID), ?, ?, ?, ?, ?)",
                    arguments: Self.key(pass) + [
                        entry.place, entry.mask.rawValue, entry.imageTokens, entry.textTokens,
                        blob(entry.sums),
                    ])
            }
        }
    }

    /// Drops a pass and what it measured.
    func remove(_ pass: LensPass) throws {
        try write { db in
            try db.execute(
                sql: "DELETE FROM lens_pass WHERE id = \(Self.passID)", arguments: Self.key(pass))
        }
    }

    private static let passID = """
        (SELECT id FROM lens_pass WHERE kind = ? AND domain = ? AND split = ? AND setting = ?)
        """

    private static func key(_ pass: LensPass) -> StatementArguments {
        [pass.kind.rawValue, pass.domain.rawValue, pass.split, pass.setting]
    }

    private static func lensPass(_ row: Row) throws -> LensPass {
        guard let domain = Domain(rawValue: row["domain"]),
            let kind = LensPass.Kind(rawValue: row["kind"])
        else {
            throw DatabaseError(
                resultCode: .SQLITE_CORRUPT, message: "an unknown domain or kind of pass")
        }
        var pass = LensPass(
            kind: kind, domain: domain, split: row["split"], setting: row["setting"],
            bench: row["bench"], options: row["options"])
        pass.cursor = row["cursor"]
        pass.samples = row["samples"]
        pass.skipped = row["skipped"]
        pass.finished = row["finished"] != 0
        return pass
    }

    /// Numbers as they lie in memory: every platform that mmq runs on is little-endian.
    private func blob<Number>(_ numbers: [Number]) -> Data {
        numbers.withUnsafeBytes { Data($0) }
    }

    private func elements<Number: FixedWidthInteger>(_ data: Data, _: Number) -> [Number] {
        var numbers = [Number](repeating: 0, count: data.count / MemoryLayout<Number>.stride)
        numbers.withUnsafeMutableBytes { _ = data.copyBytes(to: $0) }
        return numbers
    }

    private func doubles(_ data: Data) throws -> [Double] {
        guard data.count % 8 == 0 else {
            throw InputError(.badInput, file: path, "\(data.count) bytes of 8-byte numbers")
        }
        return elements(data, UInt64(0)).map { Double(bitPattern: $0) }
    }
}
