import MMQBase
import MMQFormats

/// What is compared with what grows faster than a file: no answers of a model come near.
enum ScoredAnswerLimit {
    /// Characters of an answer or a reference (`doc`).
    static let comparedText = 1 << 13
    /// Characters of a choice's text or its label (`med`).
    static let choice = 1024
    /// Annotators of a question (`com`); VQAv2 has ten.
    static let annotators = 1000
}

/// One answer with what is needed to score it.
public struct ScoredAnswer: Sendable, Equatable {
    /// The domain.
    public var domain: Domain
    /// The number that the official code gives the sample: answers under different settings belong
    /// together by it.
    public var index: Int
    /// The mask setting under which it was given.
    public var setting: String
    /// The question alone; nil where unknown (only Lingo-Judge reads it).
    public var question: String?
    /// The ground truth, in the form that the official loaders yield: references (`ad`), a letter
    /// (`med`), the answer's record (`rs`), annotators' records (`com`), a list of texts (`doc`).
    public var groundTruth: JSONValue
    /// The model's answer as decoded, nothing stripped.
    public var answer: String
    /// `question_id`, `segment_id`, `type`, `question_type`, `answer_type`, where there are any.
    public var attributes: [String: String]
    /// The texts of the four choices (`med`), where known.
    public var choices: [String]?
    /// Where it came from, for errors.
    public var source: String

    /// An answer to score.
    public init(
        domain: Domain, index: Int, setting: String, question: String? = nil,
        groundTruth: JSONValue, answer: String, attributes: [String: String] = [:],
        choices: [String]? = nil, source: String
    ) {
        self.domain = domain
        self.index = index
        self.setting = setting
        self.question = question
        self.groundTruth = groundTruth
        self.answer = answer
        self.attributes = attributes
        self.choices = choices
        self.source = source
    }

    /// The group of samples that it belongs to; nil where it stands alone, or the answer does not
    /// say.
    var cluster: String? { domain.clusterKey.flatMap { attributes[$0] } }

    // MARK: - Ground truth

    func error(_ problem: String) -> InputError {
        InputError(
            .badInput, file: source, item: "\(domain.rawValue) \(index)", problem)
    }

    func requiredQuestion() throws -> String {
        guard let question else { throw error("no 'question', which Lingo-Judge has to read") }
        return question
    }

    /// One text or a list of them (`ad`, `doc`).
    func references() throws -> [String] {
        let list = groundTruth.array ?? [groundTruth]
        let texts = list.compactMap(\.text)
        guard !texts.isEmpty, texts.count == list.count else {
            throw error("expected a text or a list of texts as ground truth, found \(found)")
        }
        return texts
    }

    /// The references, where texts are compared by edit distance: that takes the product of their
    /// lengths.
    func comparedReferences() throws -> [String] {
        let references = try references()
        try check(references + [answer], most: ScoredAnswerLimit.comparedText)
        return references
    }

    /// Refuses texts that would be compared for minutes.
    func check(_ texts: [String], most: Int) throws {
        // Bytes first: they are at hand, and never fewer than characters.
        for text in texts where text.utf8.count > most && text.unicodeScalars.count > most {
            throw error(
                "a text of \(text.unicodeScalars.count) characters; texts of up to \(most) are "
                    + "compared")
        }
    }

    /// The one text (`med`; `rs`, where it may be the record's `answer`).
    func truth() throws -> String {
        let value = domain == .rs ? groundTruth["answer"] ?? groundTruth : groundTruth
        guard let text = value.text ?? value.integer.map(String.init) else {
            throw error(
                domain == .rs
                    ? "expected a record with 'answer' as ground truth, found \(found)"
                    : "expected a text as ground truth, found \(found)")
        }
        return text
    }

    /// The annotators' records (`com`): a list of objects with `answer`, or of texts, or an object
    /// with such a list under `answers`. Plain texts count as records of their own.
    func records() throws -> [VQAAccuracy.Record] {
        try annotations().enumerated().map { number, value in
            if let text = value.text { return .init(answer: text, rest: String(number)) }
            guard case .object(let object) = value, let text = object["answer"]?.text else {
                throw error("annotator \(number) without a text as 'answer'")
            }
            let others = object.members.filter { $0.key != "answer" }.sorted { $0.key < $1.key }
            let rest = others.map { "\($0.key)=\($0.value.jsonLine)" }.joined(separator: "\n")
            return .init(answer: text, rest: rest)
        }
    }

    /// The answers given with confidence "yes" (`com`); nil if the records say nothing of
    /// confidence.
    func confidentAnswers() throws -> [String]? {
        var answers: [String] = []
        for (number, value) in try annotations().enumerated() {
            guard let confidence = value["answer_confidence"]?.text else { return nil }
            guard let text = value["answer"]?.text else {
                throw error("annotator \(number) without a text as 'answer'")
            }
            if confidence == "yes" { answers.append(text) }
        }
        return answers
    }

    private func annotations() throws -> [JSONValue] {
        guard let list = groundTruth.array ?? groundTruth["answers"]?.array, !list.isEmpty else {
            throw error("expected the annotators' answers as ground truth, found \(found)")
        }
        guard list.count <= ScoredAnswerLimit.annotators else {
            throw error(
                "\(list.count) annotators' answers; up to \(ScoredAnswerLimit.annotators) are "
                    + "compared, each with each")
        }
        return list
    }

    private var found: String { groundTruth.kind }

    // MARK: - Files

    /// Reads answers from a file of JSON lines: `index`, `ground_truth`, `answer` (of a list the
    /// first), and where a score needs them `question`, `question_id`, `segment_id`, `type`,
    /// `question_type`, `answer_type`, `choices` (four texts), at the top or under `attributes`.
    /// Without `index` the line's number counts; none is negative or there twice. A line with a
    /// `problem` has no answer.
    ///
    /// - Returns: the answers, and the number of lines without one.
    public static func read(
        path: String, domain: Domain, setting: String = "none"
    ) throws -> (answers: [ScoredAnswer], unanswered: Int) {
        let lines = try LineFile(path: path, parquet: nil, bench: "")
        guard lines.count > 0 else { throw InputError(.badInput, file: path, "no answers") }
        var answers: [ScoredAnswer] = []
        var seen: Set<Int> = []
        for number in 0..<lines.count {
            let record = try lines.record(number)
            if record.value["problem"]?.text != nil { continue }
            let keys =
                ["question_id", "segment_id", "type", "question_type", "answer_type"]
                + [domain.clusterKey].compactMap { $0 }.filter { $0 != "segment_id" }
            var attributes = record.attributes(keys)
            for (key, value) in textMembers(record.value["attributes"]) {
                attributes[key] = attributes[key] ?? value
            }
            var groundTruth = record.value["ground_truth"]
            if domain == .com, let truth = groundTruth, truth["answers"] != nil {
                for (key, value) in textMembers(truth) where keys.contains(key) {
                    attributes[key] = attributes[key] ?? value
                }
                groundTruth = truth["answers"]
            }
            guard let groundTruth else { throw record.error("ground_truth", "not there") }
            let given = record.value["answer"]
            guard let answer = given?.text ?? given?.array?.first?.text else {
                throw record.error("answer", "expected a text")
            }
            let index = record.value["index"]
            guard index == nil || index?.integer != nil else {
                throw record.error("index", "expected an integer")
            }
            let place = index?.integer ?? number
            guard place >= 0, seen.insert(place).inserted else {
                throw record.error("index", "\(place) is negative, or that of an answer before")
            }
            answers.append(
                ScoredAnswer(
                    domain: domain, index: place, setting: setting,
                    question: record.value["question"]?.text, groundTruth: groundTruth,
                    answer: answer, attributes: attributes, choices: try choices(record),
                    source: path))
        }
        return (answers, lines.count - answers.count)
    }

    private static func choices(_ record: LineRecord) throws -> [String]? {
        guard record.value["choices"] != nil else { return nil }
        let choices = try record.texts("choices")
        guard choices.count == 4 else { throw record.error("choices", "expected four texts") }
        return choices
    }

    private static func textMembers(_ value: JSONValue?) -> [(String, String)] {
        guard case .object(let object)? = value else { return [] }
        return object.members.compactMap { key, value in
            (value.text ?? value.integer.map(String.init)).map { (key, $0) }
        }
    }
}
