import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQStudy

/// The judge that the goldens were made with: any fixed rule shows which texts it is given.
struct SimilarityJudge: AnswerJudge {
    let name = "similarity"

    func score(question: String, reference: String, answer: String) -> Float {
        let ratio = SequenceMatcher(PythonText(reference), PythonText(answer)).ratio
        return Float(ratio - 0.5 - Double(question.unicodeScalars.count) / 1000)
    }
}

extension JSONValue {
    func plainNumber() throws -> Double {
        switch self {
        case .integer(let number): return Double(number)
        case .number(let number): return number
        default: throw InputError(.badInput, file: "golden", "not a number: \(kind)")
        }
    }
}

@Suite struct EvaluationMetricTests {
    @Test func pythonTextsOfEveryCharacter() throws {
        let golden = try Golden.json("evaluation/text.json")
        var hashes: [String: UInt64] = ["lower": 0, "upper": 0, "space": 0, "digit": 0]
        func absorb(_ name: String, _ value: Int) {
            hashes[name] = (hashes[name] ?? 0) &* 31 &+ UInt64(value)
        }
        for code in UInt32(0)..<0x20000 {
            guard let scalar = Unicode.Scalar(code) else { continue }
            let text = PythonText(scalars: [scalar])
            let lowered = text.lowered().scalars.enumerated()
            absorb("lower", lowered.reduce(0) { $0 + ($1.offset + 1) * Int($1.element.value) })
            absorb("upper", text.upperedCount)
            absorb("space", PythonText.isSpace(scalar) ? 1 : 0)
            absorb("digit", (PythonText.digit(scalar) ?? -1) + 1)
        }
        for (name, hash) in hashes {
            let digits = String(hash, radix: 16)
            let padded = String(repeating: "0", count: 16 - digits.count) + digits
            #expect(try golden.at(name) == .string(padded), "\(name)")
        }
    }

    @Test func pythonTextsOfStrings() throws {
        for entry in try Golden.json("evaluation/text.json").at("strings").list() {
            let parts = try entry.list()
            let text = PythonText(try #require(parts[0].text))
            #expect(text.lowered() == PythonText(try #require(parts[1].text)), "\(parts[0])")
            #expect(text.upperedCount == parts[2].integer, "\(parts[0])")
            #expect(text.stripped() == PythonText(try #require(parts[3].text)), "\(parts[0])")
            #expect(text.words() == (try parts[4].texts().map(PythonText.init)), "\(parts[0])")
        }
    }

    @Test func normalisedAnswers() throws {
        let golden = try Golden.json("evaluation/answers.json")
        let texts = try golden.at("texts").texts()
        let normalised = try golden.at("normalised").texts()
        #expect(texts.count > 1000 && texts.count == normalised.count)
        for (text, expected) in zip(texts, normalised) {
            let found = VQAAccuracy.normalised(PythonText(text))
            #expect(found == PythonText(expected), "\(pythonRepr(text))")
        }
    }

    @Test func everydayAnswers() throws {
        let golden = try Golden.json("evaluation/answers.json")
        let texts = try golden.at("texts").texts()
        let names: [Character: String] = ["y": "yes", "n": "no", "m": "maybe"]
        var answers: [ScoredAnswer] = []
        var expected: [(official: Double, mmneuron: Double)] = []
        for (number, entry) in try golden.at("everyday").list().enumerated() {
            let parts = try entry.list()
            let group = try #require(parts[0].integer)
            let cluster = texts[(6 * group)..<(6 * group + 6)]
            let candidates = cluster + [texts[try #require(parts[1].integer)]]
            func candidate(_ number: Int) -> String { candidates[candidates.startIndex + number] }
            let given = try #require(parts[2].text).map { $0.wholeNumberValue ?? 0 }
            let confidence = try #require(parts[3].text).map { names[$0] ?? "" }
            let records = zip(given, confidence).enumerated().map { i, record in
                var object = JSONObject()
                object.set("answer", .string(candidate(record.0)))
                object.set("answer_confidence", .string(record.1))
                if parts[4] == .integer(1) { object.set("answer_id", .integer(i + 1)) }
                return JSONValue.object(object)
            }
            answers.append(
                ScoredAnswer(
                    domain: .com, index: number, setting: "none", groundTruth: .array(records),
                    answer: candidate(try #require(parts[5].integer)), source: "golden"))
            expected.append((try parts[6].plainNumber(), try parts[7].plainNumber()))
        }
        #expect(answers.count == 3000)
        try compare(answers, .com, .official, expected.map(\.official))
        try compare(answers, .com, .mmneuron, expected.map(\.mmneuron))
    }

    @Test func documentAnswers() throws {
        let golden = try Golden.json("evaluation/answers.json")
        let texts = try golden.at("texts").texts()
        var answers: [ScoredAnswer] = []
        var expected: [[Double]] = []
        for (number, entry) in try golden.at("documents").list().enumerated() {
            let parts = try entry.list()
            answers.append(
                ScoredAnswer(
                    domain: .doc, index: number, setting: "none",
                    groundTruth: .array(try parts[1].integers().map { .string(texts[$0]) }),
                    answer: texts[try #require(parts[0].integer)], source: "golden"))
            expected.append([try parts[2].plainNumber(), try parts[3].plainNumber()])
        }
        #expect(answers.count == 2500)
        try compare(answers, .doc, .official, expected.map { $0[0] })
        try compare(answers, .doc, .mmneuron, expected.map { $0[1] })
    }

    @Test func sequenceMatcherRatios() throws {
        let golden = try Golden.json("evaluation/answers.json")
        let texts = try golden.at("texts").texts().map(PythonText.init)
        let cases = try golden.at("ratios").list()
        #expect(cases.count == 2000)
        for entry in cases {
            let parts = try entry.list()
            let (a, b) = (try #require(parts[0].integer), try #require(parts[1].integer))
            #expect(
                try SequenceMatcher(texts[a], texts[b]).ratio == parts[2].plainNumber(), "\(a) \(b)"
            )
        }
    }

    @Test func medicalAnswers() throws {
        let golden = try Golden.json("evaluation/answers.json")
        let texts = try golden.at("texts").texts()
        var answers: [ScoredAnswer] = []
        var expected: [[Double]] = []
        for (number, entry) in try golden.at("medical").list().enumerated() {
            let parts = try entry.list()
            let choices = zip("ABCD", try parts[1].integers()).map { " \($0):\(texts[$1])" }
            let place = parts[0].array?.first?.integer
            answers.append(
                ScoredAnswer(
                    domain: .med, index: number, setting: "none", groundTruth: parts[2],
                    answer: try #require(place.map { texts[$0] } ?? parts[0].text),
                    choices: choices, source: "golden"))
            expected.append(try parts[3...].map { try $0.plainNumber() })
        }
        #expect(answers.count == 1500)
        try compare(answers, .med, .official, expected.map { $0[0] })
        try compare(answers, .med, .official, rule: 1, expected.map { $0[1] })
        try compare(answers, .med, .mmneuron, expected.map { $0[2] })
    }

    @Test func aerialAnswers() throws {
        let golden = try Golden.json("evaluation/answers.json")
        var answers: [ScoredAnswer] = []
        var expected: [[Double]] = []
        for (number, entry) in try golden.at("aerial").list().enumerated() {
            let parts = try entry.list()
            var record = JSONObject()
            record.set("answer", parts[1])
            answers.append(
                ScoredAnswer(
                    domain: .rs, index: number, setting: "none", groundTruth: .object(record),
                    answer: try #require(parts[0].text), source: "golden"))
            expected.append([try parts[2].plainNumber(), try parts[3].plainNumber()])
        }
        #expect(answers.count == 1000)
        try compare(answers, .rs, .official, expected.map { $0[0] })
        try compare(answers, .rs, .mmneuron, expected.map { $0[1] })
    }

    @Test func drivingAnswers() throws {
        for entry in try Golden.json("evaluation/answers.json").at("driving").list() {
            let parts = try entry.list()
            let answers = try parts[0].list().enumerated().map { number, row in
                ScoredAnswer(
                    domain: .ad, index: number, setting: "none", question: row["question"]?.text,
                    groundTruth: try row.at("ground_truth"),
                    answer: try #require(try row.at("answer").text),
                    attributes: [
                        "question_id": try #require(row["question_id"]?.text),
                        "segment_id": try #require(row["segment_id"]?.text),
                    ], source: "golden")
            }
            let expected = try parts[1].list().map { try $0.plainNumber() }
            let evaluator = Evaluator(judge: SimilarityJudge(), resampling: .init(draws: 10))
            let scores = try evaluator.scores(of: answers).compactMap(\.score)
            #expect(scores.map { Double($0.samples) } == [expected[0], expected[2]])
            #expect(scores.map(\.value) == [expected[1], expected[3]])
        }
    }

    /// Scores answer by answer and looks for the goldens' values, bit for bit.
    private func compare(
        _ answers: [ScoredAnswer], _ domain: Domain, _ form: MetricForm, rule: Int = 0,
        _ expected: [Double], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        guard case .units(let units) = try Metric.all(domain, form)[rule].units(answers, nil) else {
            Issue.record("no score", sourceLocation: sourceLocation)
            return
        }
        try #require(units.count == expected.count, sourceLocation: sourceLocation)
        for (i, unit) in units.enumerated() where unit.value != expected[i] {
            let truth = answers[i].groundTruth.jsonLine
            Issue.record(
                "\(form) \(pythonRepr(answers[i].answer)) for \(truth): \(unit.value), not \(expected[i])",
                sourceLocation: sourceLocation)
        }
    }
}
