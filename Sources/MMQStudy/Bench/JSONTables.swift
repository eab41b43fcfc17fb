import Foundation
import MMQBase
import MMQFormats

/// RSVQA: plain JSON, `rs/USGS_split_<split>_{questions,answers}.json` and `rs/Data/<img_id>.png`.
struct AerialTable: BenchTable {
    let files: [MappedFile]
    private let order: [Int32]
    /// Of the active questions, in file order.
    private let images: [String]
    private let questions: [Int]
    private let firstAnswers: [Int32]
    /// Where each answer's record begins.
    private let answers: [Int]
    private let folder: String

    var count: Int { order.count }

    init(bench: String, split: String) throws {
        folder = bench + "/rs/Data"
        let questionFile = try MappedFile(
            path: "\(bench)/rs/USGS_split_\(split)_questions.json")
        let answerFile = try MappedFile(path: "\(bench)/rs/USGS_split_\(split)_answers.json")
        files = [questionFile, answerFile]

        var images: [String] = []
        var questions: [Int] = []
        var firstAnswers: [Int32] = []
        try readList("questions", of: questionFile) { reader, number in
            var active: Bool?
            var image: String?
            var first: Int?
            var hasQuestion = false
            let start = reader.offset
            try reader.object { reader, key in
                switch key {
                case "active": active = try truth(reader.value(), reader)
                case "img_id": image = try pythonText(reader.value(), reader)
                case "answers_ids":
                    guard try reader.peek() == UInt8(ascii: "[") else {
                        try reader.skip()
                        return
                    }
                    try reader.array { reader, i in
                        if i == 0 {
                            first = try reader.int("answers_ids[0]")
                        } else {
                            try reader.skip()
                        }
                    }
                case "question":
                    hasQuestion = true
                    try reader.skip()
                default: try reader.skip()
                }
            }
            guard let active else {
                throw reader.error("question \(number) has no 'active'", at: start)
            }
            guard active else { return }
            guard let image, let first, hasQuestion, let first = Int32(exactly: first) else {
                throw reader.error(
                    "question \(number) needs 'img_id', 'question' and a first of 'answers_ids'",
                    at: start)
            }
            images.append(image)
            questions.append(start)
            firstAnswers.append(first)
        }
        var answers: [Int] = []
        try readList("answers", of: answerFile) { reader, _ in
            answers.append(reader.offset)
            try checkSize(of: reader.skip(), reader)
        }
        // The official code looks answers up by their place, not by their id.
        if let bad = firstAnswers.firstIndex(where: { $0 < 0 || Int($0) >= answers.count }) {
            throw InputError(
                .badInput, file: questionFile.path, item: "answers_ids", offset: questions[bad],
                "answer \(firstAnswers[bad]) is not among the \(answers.count) answers")
        }
        self.images = images
        self.questions = questions
        self.firstAnswers = firstAnswers
        self.answers = answers
        order = SampleOrder.python(count: images.count)
    }

    func pictureKey(at place: Int) -> String? { images[Int(order[place])] }

    func pictures(at place: Int) -> [[String]] {
        [["\(folder)/\(images[Int(order[place])]).png"]]
    }

    func content(at place: Int, isWhole: Bool) throws -> BenchContent {
        let row = Int(order[place])
        var reader = JSONReader(files[0], at: questions[row], rules: .halfPairsReplaced)
        let record = try reader.value()
        let question = try pythonText(record["question"] ?? .null, reader)
        guard isWhole else {
            return BenchContent(
                index: place, question: question, answer: .null, pictures: pictures(at: place))
        }
        var answerReader = JSONReader(
            files[1], at: answers[Int(firstAnswers[row])], rules: .halfPairsReplaced)
        var attributes: [String: String] = [:]
        if let type = record["type"]?.text { attributes["type"] = type }
        if let id = record["id"]?.integer { attributes["question_id"] = String(id) }
        return BenchContent(
            index: place, question: question, answer: try answerReader.value(),
            attributes: attributes,
            pictures: pictures(at: place))
    }
}

/// VQAv2: questions, and answers either as the data set's annotations or as the official code's
/// dictionary from question to answers.
struct EverydayTable: BenchTable {
    let files: [MappedFile]
    private let order: [Int32]
    private let images: [String]
    private let questions: [Int]
    /// Where each question's annotation (or list of answers) begins.
    private let answers: [Int]
    private let answersAreAnnotations: Bool
    private let folder: String
    private let split: String

    var count: Int { order.count }

    init(bench: String, split: String) throws {
        self.split = split
        folder = "\(bench)/vqav2/\(split)2014"
        let questionFile = try MappedFile(
            path: "\(bench)/vqav2/v2_OpenEnded_mscoco_\(split)2014_questions.json")
        let dictionary = "\(bench)/vqav2/v2_mscoco_\(split)2014_ansdict.json"
        let annotations = "\(bench)/vqav2/v2_mscoco_\(split)2014_annotations.json"
        answersAreAnnotations = !exists(dictionary)
        if answersAreAnnotations, !exists(annotations) {
            throw InputError(
                .badInput, file: annotations, "not there, and neither is the ansdict file beside it"
            )
        }
        let answerFile = try MappedFile(path: answersAreAnnotations ? annotations : dictionary)
        files = [questionFile, answerFile]

        var images: [String] = []
        var ids: [Int] = []
        var questions: [Int] = []
        try readList("questions", of: questionFile) { reader, number in
            var image: String?
            var id: Int?
            var hasQuestion = false
            let start = reader.offset
            try reader.object { reader, key in
                switch key {
                case "image_id": image = try pythonText(reader.value(), reader)
                case "question_id": id = try reader.int("question_id")
                case "question":
                    hasQuestion = true
                    try reader.skip()
                default: try reader.skip()
                }
            }
            guard let image, let id, hasQuestion else {
                throw reader.error(
                    "question \(number) needs 'image_id', 'question' and 'question_id'", at: start)
            }
            images.append(image)
            ids.append(id)
            questions.append(start)
        }
        let places =
            answersAreAnnotations
            ? try Self.annotationPlaces(answerFile, expecting: ids.count)
            : try Self.dictionaryPlaces(answerFile, expecting: ids.count)
        answers = try ids.enumerated().map { row, id in
            guard let place = places[id] else {
                throw InputError(
                    .badInput, file: answerFile.path, "no answers for question \(id)")
            }
            return place
        }
        self.images = images
        self.questions = questions
        order = SampleOrder.python(count: images.count)
    }

    func pictureKey(at place: Int) -> String? { images[Int(order[place])] }

    func pictures(at place: Int) -> [[String]] {
        let image = images[Int(order[place])]
        let zeros = String(repeating: "0", count: max(0, 12 - image.count))
        return [["\(folder)/COCO_\(split)2014_\(zeros)\(image).jpg"]]
    }

    func content(at place: Int, isWhole: Bool) throws -> BenchContent {
        let row = Int(order[place])
        var reader = JSONReader(files[0], at: questions[row], rules: .halfPairsReplaced)
        let record = try reader.value()
        let question = try pythonText(record["question"] ?? .null, reader)
        guard isWhole else {
            return BenchContent(
                index: place, question: question, answer: .null, pictures: pictures(at: place))
        }
        var answerReader = JSONReader(files[1], at: answers[row], rules: .halfPairsReplaced)
        var answer = try answerReader.value()
        var attributes: [String: String] = [:]
        if let id = record["question_id"]?.integer { attributes["question_id"] = String(id) }
        if answersAreAnnotations {
            for key in ["question_type", "answer_type"] {
                if let text = answer[key]?.text { attributes[key] = text }
            }
            guard let list = answer["answers"] else {
                throw answerReader.error("an annotation without 'answers'", at: answers[row])
            }
            answer = list
        }
        return BenchContent(
            index: place, question: question, answer: answer, attributes: attributes,
            pictures: pictures(at: place))
    }

    /// Where each question's annotation begins.
    private static func annotationPlaces(
        _ file: MappedFile, expecting count: Int
    ) throws -> [Int: Int] {
        var places: [Int: Int] = [:]
        places.reserveCapacity(count)
        try readList("annotations", of: file) { reader, number in
            let start = reader.offset
            var id: Int?
            try reader.object { reader, key in
                if key == "question_id" {
                    id = try reader.int("question_id")
                } else {
                    try reader.skip()
                }
            }
            try checkSize(of: start..<reader.offset, reader)
            guard let id else {
                throw reader.error("annotation \(number) has no 'question_id'", at: start)
            }
            places[id] = start
        }
        return places
    }

    /// Where each question's list of answers begins.
    private static func dictionaryPlaces(
        _ file: MappedFile, expecting count: Int
    ) throws -> [Int: Int] {
        var places: [Int: Int] = [:]
        places.reserveCapacity(count)
        var reader = JSONReader(file, rules: .halfPairsReplaced)
        try reader.object { reader, key in
            guard let id = Int(key) else {
                throw reader.error("the key \"\(key)\" is not a question's number")
            }
            places[id] = reader.offset
            try checkSize(of: reader.skip(), reader)
        }
        try reader.finish()
        return places
    }
}

/// Refuses answers that take long to read: any number of questions may name the same ones, and each
/// reads them again. (VQAv2's have some 1,500 bytes.)
private func checkSize(of answers: Range<Int>, _ reader: JSONReader) throws {
    let most = 1 << 14
    guard answers.count <= most else {
        throw reader.error(
            "answers of \(answers.count) bytes to a question; up to \(most) are read",
            at: answers.lowerBound)
    }
}

/// Calls `element` with each element of the list under `key` of a document that is an object.
func readList(
    _ key: String, of file: MappedFile,
    _ element: (inout JSONReader, Int) throws -> Void
) throws {
    var reader = JSONReader(file, rules: .halfPairsReplaced)
    var found = false
    try reader.object { reader, name in
        if name == key, !found {
            found = true
            try reader.array(element)
        } else {
            try reader.skip()
        }
    }
    try reader.finish()
    guard found else { throw InputError(.badInput, file: file.path, item: key, "not there") }
}

/// A value as Python's `str` prints it; only texts and numbers are expected here.
func pythonText(_ value: JSONValue, _ reader: JSONReader) throws -> String {
    switch value {
    case .string(let text): return text
    case .integer(let number): return String(number)
    case .number(let number): return pythonRepr(number)
    default: throw reader.error("expected a text or a number, found \(value.kind)")
    }
}

/// Whether Python takes a value for true.
private func truth(_ value: JSONValue, _ reader: JSONReader) throws -> Bool {
    switch value {
    case .bool(let flag): return flag
    case .null: return false
    case .integer(let number): return number != 0
    default: throw reader.error("'active' is neither true nor false but \(value.kind)")
    }
}
