import Foundation
import GRDB
import MMQBase
import MMQFormats
import MMQModels

/// Answers of one domain's samples under one mask setting, and how they were made.
public struct AnswerSet: Sendable, Equatable {
    /// The domain.
    public let domain: Domain
    /// The split.
    public let split: String
    /// The mask setting's name: `none`, `all`, `random`, ...
    public let setting: String
    /// Fingerprint of the model that answered; `imported` for answers that came from a file.
    public let model: String
    /// Identifies the annotations; `imported` for answers that came from a file.
    public let bench: String
    /// What an answer depends on beside model, bench and mask, as JSON (`AnswerOptions`).
    public let options: String
    /// The neurons that were off: for each module one ascending list per layer.
    public let mask: [String: [[Int]]]

    /// A set that nothing was added to yet.
    public init(
        domain: Domain, split: String, setting: String, model: String, bench: String,
        options: String, mask: [String: [[Int]]]
    ) {
        self.domain = domain
        self.split = split
        self.setting = setting
        self.model = model
        self.bench = bench
        self.options = options
        self.mask = mask
    }
}

/// One answer of a study.
public struct StoredAnswer: Sendable, Equatable {
    /// The place in the bench's shuffled order; the line's number for imported answers.
    public var position: Int
    /// The number that the official code gives the sample.
    public var index: Int
    /// The question alone; empty where an imported file does not say.
    public var question: String
    /// The ground truth, as `BenchSample.answer` has it.
    public var groundTruth: JSONValue
    /// What else the data set says: `question_id`, `type`, ...
    public var attributes: [String: String]
    /// The answer; nil if there is none, and `problem` says why.
    public var text: String?
    /// Why there is no answer.
    public var problem: String?
    /// The tokens of the answer, the one that ended it included; empty for imported answers.
    public var tokens: [Int32]
    /// Tokens of the prompt, image tokens included; 0 where unknown.
    public var promptTokens: Int

    /// An answer, or the reason why there is none.
    public init(
        position: Int, index: Int, question: String = "", groundTruth: JSONValue,
        attributes: [String: String] = [:], text: String?, problem: String? = nil,
        tokens: [Int32] = [], promptTokens: Int = 0
    ) {
        self.position = position
        self.index = index
        self.question = question
        self.groundTruth = groundTruth
        self.attributes = attributes
        self.text = text
        self.problem = problem
        self.tokens = tokens
        self.promptTokens = promptTokens
    }
}

enum AnswerSchema {
    static func register(_ migrator: inout DatabaseMigrator) {
        migrator.registerMigration("answers") { db in
            try db.execute(
                sql: """
                    -- How the answers of a domain under a mask setting were made. mask: JSON,
                    -- {module: [[neurons] per layer]}; options: JSON.
                    CREATE TABLE answer_set (
                        id INTEGER PRIMARY KEY,
                        domain TEXT NOT NULL, split TEXT NOT NULL, setting TEXT NOT NULL,
                        model TEXT NOT NULL, bench TEXT NOT NULL,
                        options TEXT NOT NULL, mask TEXT NOT NULL,
                        UNIQUE (domain, split, setting)) STRICT;
                    -- ground_truth, attributes, tokens: JSON. Either text or problem is there.
                    CREATE TABLE answer (
                        answer_set INTEGER NOT NULL REFERENCES answer_set(id) ON DELETE CASCADE,
                        position INTEGER NOT NULL, sample INTEGER NOT NULL,
                        question TEXT NOT NULL, ground_truth TEXT NOT NULL,
                        attributes TEXT NOT NULL, text TEXT, problem TEXT,
                        tokens TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
                        PRIMARY KEY (answer_set, position)) STRICT, WITHOUT ROWID;
                    """)
        }
    }
}

extension Study {
    /// The sets of answers that the study holds, by domain, then in the order of
    /// `MaskSetting.standard`, others last by name.
    ///
    /// - Parameter split: only those of that split.
    public func answerSets(split: String? = nil) throws -> [AnswerSet] {
        let rows = try read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM answer_set ORDER BY setting, split")
        }
        let sets = try MaskSetting.sorted(rows.map(answerSet), by: \.setting)
            .filter { split == nil || $0.split == split }
        return Domain.allCases.flatMap { domain in sets.filter { $0.domain == domain } }
    }

    /// The set of a domain under a mask setting; nil if the study holds none.
    public func answerSet(domain: Domain, split: String, setting: String) throws -> AnswerSet? {
        try read { db in
            try Row.fetchOne(
                db, sql: "SELECT * FROM answer_set WHERE domain = ? AND split = ? AND setting = ?",
                arguments: [domain.rawValue, split, setting])
        }.map(answerSet)
    }

    /// The answers of a set, by position; empty if there is no such set.
    public func answers(domain: Domain, split: String, setting: String) throws -> [StoredAnswer] {
        let rows = try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT answer.*, CAST(question AS BLOB) AS question_bytes,
                        CAST(text AS BLOB) AS text_bytes
                    FROM answer JOIN answer_set ON answer_set = id
                    WHERE domain = ? AND split = ? AND setting = ? ORDER BY position
                    """, arguments: [domain.rawValue, split, setting])
        }
        return try rows.map { row in
            let truth: String = row["ground_truth"]
            let attributes: String = row["attributes"]
            let tokens: String = row["tokens"]
            return StoredAnswer(
                position: row["position"], index: row["sample"],
                question: Self.text(row["question_bytes"]) ?? "",
                groundTruth: try JSONValue(parsing: Array(truth.utf8), file: path),
                attributes: try decoded(attributes, domain), text: Self.text(row["text_bytes"]),
                problem: row["problem"], tokens: try decoded(tokens, domain),
                promptTokens: row["prompt_tokens"])
        }
    }

    /// Text that may hold a NUL, which a model can say: handed over as bytes, for a string would end
    /// there.
    private static func text(_ bytes: Data?) -> String? {
        bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The positions of a set's answers.
    func answeredPositions(domain: Domain, split: String, setting: String) throws -> Set<Int> {
        try read { db in
            try Set(
                Int.fetchAll(
                    db,
                    sql: """
                        SELECT position FROM answer JOIN answer_set ON answer_set = id
                        WHERE domain = ? AND split = ? AND setting = ?
                        """, arguments: [domain.rawValue, split, setting]))
        }
    }

    /// Begins a set, in place of the one of the same domain, split and setting, whose answers go.
    func begin(_ set: AnswerSet) throws {
        let mask = try encoded(set.mask)
        try write { db in
            try delete(db, set)
            try insert(db, set, mask: mask)
        }
    }

    /// Adds one answer to a set that was begun.
    func add(_ answer: StoredAnswer, to set: AnswerSet) throws {
        try write { try insert($0, answer, set) }
    }

    /// Puts a whole set in place of the one of the same domain, split and setting.
    func replace(_ set: AnswerSet, answers: [StoredAnswer]) throws {
        let mask = try encoded(set.mask)
        try write { db in
            try delete(db, set)
            try insert(db, set, mask: mask)
            for answer in answers { try insert(db, answer, set) }
        }
    }

    private func delete(_ db: Database, _ set: AnswerSet) throws {
        try db.execute(
            sql: "DELETE FROM answer_set WHERE domain = ? AND split = ? AND setting = ?",
            arguments: [set.domain.rawValue, set.split, set.setting])
    }

    private func insert(_ db: Database, _ set: AnswerSet, mask: String) throws {
        try db.execute(
            sql: """
                INSERT INTO answer_set (domain, split, setting, model, bench, options, mask)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                set.domain.rawValue, set.split, set.setting, set.model, set.bench, set.options,
                mask,
            ])
    }

    private func insert(_ db: Database, _ answer: StoredAnswer, _ set: AnswerSet) throws {
        try db.execute(
            sql: """
                INSERT INTO answer
                SELECT id, ?, ?, CAST(? AS TEXT), ?, ?, CAST(? AS TEXT), ?, ?, ? FROM answer_set
                WHERE domain = ? AND split = ? AND setting = ?
                """,
            arguments: [
                answer.position, answer.index, Data(answer.question.utf8),
                answer.groundTruth.jsonLine, try encoded(answer.attributes),
                answer.text.map { Data($0.utf8) }, answer.problem,
                try encoded(answer.tokens), answer.promptTokens, set.domain.rawValue, set.split,
                set.setting,
            ])
        guard db.changesCount == 1 else {
            throw InputError(
                .failed, file: path, item: set.setting, "an answer of a set that was not begun")
        }
    }

    private func answerSet(_ row: Row) throws -> AnswerSet {
        let name: String = row["domain"]
        guard let domain = Domain(rawValue: name) else {
            throw InputError(.badInput, file: path, item: name, "answers of an unknown domain")
        }
        let mask: String = row["mask"]
        return AnswerSet(
            domain: domain, split: row["split"], setting: row["setting"], model: row["model"],
            bench: row["bench"], options: row["options"], mask: try decoded(mask, domain))
    }

    /// JSON with sorted keys: equal values give equal text.
    private func encoded(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private func decoded<T: Decodable>(_ text: String, _ domain: Domain) throws -> T {
        do {
            return try JSONDecoder().decode(T.self, from: Data(text.utf8))
        } catch {
            throw InputError(
                .badInput, file: path, item: domain.rawValue, "damaged answers: \(error)")
        }
    }
}
