import Foundation
import GRDB
import MMQBase
import MMQFormats
import MMQModels

/// Answers of one domain's samples under one mask setting, and how they were made: a row of
/// `answer_set`.
public struct AnswerSet: Sendable, Equatable, Codable {
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
    /// What was done to neurons: for each module one mask per layer.
    public let mask: [String: [LayerMask]]

    /// A set that nothing was added to yet.
    public init(
        domain: Domain, split: String, setting: String, model: String, bench: String,
        options: String, mask: [String: [LayerMask]]
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

extension AnswerSet: StudyRow {
    static let table = "answer_set"
}

/// A row of `answer`.
private struct AnswerRow: StudyRow {
    static let table = "answer"
    let answerSet: Int64
    let position: Int
    let sample: Int
    let question: TextBytes
    /// JSON.
    let groundTruth: String
    let attributes: [String: String]
    let text: TextBytes?
    let problem: String?
    let tokens: [Int32]
    let promptTokens: Int

    var damage: String? {
        if (text == nil) == (problem == nil) { return "answer \(position): no text, or no reason" }
        return firstBeyond(("position", position), ("prompt_tokens", promptTokens))
    }

    init(_ answer: StoredAnswer, set: Int64) {
        answerSet = set
        position = answer.position
        sample = answer.index
        question = TextBytes(answer.question)
        groundTruth = answer.groundTruth.jsonLine
        attributes = answer.attributes
        text = answer.text.map(TextBytes.init)
        problem = answer.problem
        tokens = answer.tokens
        promptTokens = answer.promptTokens
    }

    func answer(file: String) throws -> StoredAnswer {
        StoredAnswer(
            position: position, index: sample, question: question.text,
            groundTruth: try JSONValue(parsing: Array(groundTruth.utf8), file: file),
            attributes: attributes, text: text?.text, problem: problem, tokens: tokens,
            promptTokens: promptTokens)
    }

    func insert(_ db: Database) throws {
        try db.change(
            """
            INSERT INTO answer (answer_set, position, sample, question, ground_truth,
                attributes, text, problem, tokens, prompt_tokens)
            VALUES (:answer_set, :position, :sample, CAST(:question AS TEXT), :ground_truth,
                :attributes, CAST(:text AS TEXT), :problem, :tokens, :prompt_tokens)
            """, StatementArguments(record.databaseDictionary))
    }
}

extension Study {
    /// The sets of answers that the study holds, by setting and split.
    func storedAnswerSets() throws -> [AnswerSet] {
        try read { db in
            try AnswerSet.all(db, "SELECT * FROM answer_set ORDER BY setting, split")
        }
    }

    /// The set of a domain under a mask setting; nil if the study holds none.
    public func answerSet(domain: Domain, split: String, setting: String) throws -> AnswerSet? {
        try read { db in
            try AnswerSet.first(
                db, "SELECT * FROM answer_set WHERE domain = ? AND split = ? AND setting = ?",
                [domain.rawValue, split, setting])
        }
    }

    /// The answers of a set, by position; empty if there is no such set.
    public func answers(domain: Domain, split: String, setting: String) throws -> [StoredAnswer] {
        let rows = try read { db in
            try AnswerRow.Record.fetchAll(
                db,
                sql: """
                    SELECT CAST(question AS BLOB) AS question, CAST(text AS BLOB) AS text, answer.*
                    FROM answer JOIN answer_set ON answer_set = id
                    WHERE domain = ? AND split = ? AND setting = ? ORDER BY position
                    """, arguments: [domain.rawValue, split, setting])
        }
        return try rows.map { try $0.row.answer(file: path) }
    }

    /// The positions of a set's answers.
    func answeredPositions(domain: Domain, split: String, setting: String) throws -> Set<Int> {
        try read { db in
            try Set(
                Int.fetchAll(
                    db.cachedStatement(
                        sql: """
                            SELECT position FROM answer JOIN answer_set ON answer_set = id
                            WHERE domain = ? AND split = ? AND setting = ?
                            """), arguments: [domain.rawValue, split, setting]))
        }
    }

    /// Begins a set, in place of the one of the same domain, split and setting, whose answers go.
    func begin(_ set: AnswerSet) throws { try replace(set, answers: []) }

    /// Puts a whole set in place of the one of the same domain, split and setting.
    func replace(_ set: AnswerSet, answers: [StoredAnswer]) throws {
        try write { db in
            try db.change(
                "DELETE FROM answer_set WHERE domain = ? AND split = ? AND setting = ?",
                [set.domain.rawValue, set.split, set.setting])
            try set.record.insert(db)
            for answer in answers { try insert(db, answer, set) }
            try removeShards(db, of: StudyItem(set))
        }
    }

    /// Adds answers to sets that were begun, all or none of them.
    func add(_ answers: [(answer: StoredAnswer, set: AnswerSet)]) throws {
        try write { db in
            for (answer, set) in answers { try insert(db, answer, set) }
        }
    }

    private func insert(_ db: Database, _ answer: StoredAnswer, _ set: AnswerSet) throws {
        guard
            let id = try Int64.fetchOne(
                db.cachedStatement(
                    sql: "SELECT id FROM answer_set WHERE domain = ? AND split = ? AND setting = ?"),
                arguments: [set.domain.rawValue, set.split, set.setting])
        else {
            throw InputError(
                .failed, file: path, item: set.setting, "an answer of a set that was not begun")
        }
        try AnswerRow(answer, set: id).insert(db)
    }
}
