import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQStudy

@Suite struct EvaluationResamplingTests {
    @Test func signTestIsExact() throws {
        for entry in try Golden.json("evaluation/answers.json").at("sign tests").list() {
            let parts = try entry.list()
            let (k, n) = (try #require(parts[0].integer), try #require(parts[1].integer))
            let expected = try parts[2].plainNumber()
            #expect(
                abs(Resampling.signTest(k, of: n) - expected) <= 1e-9 * expected, "\(k) of \(n)")
            let differences =
                Array(repeating: 0.5, count: k) + Array(repeating: -0.5, count: n - k) + [0, 0]
            let found = Resampling().signFlip(differences)
            #expect(found.test == .signs && found.p == Resampling.signTest(k, of: n))
        }
        #expect(Resampling().signFlip([0, 0]).p == 1)
    }

    @Test func everyFlipIsCounted() throws {
        for entry in try Golden.json("evaluation/answers.json").at("flips").list() {
            let parts = try entry.list()
            let found = Resampling().signFlip(try parts[0].list().map { try $0.plainNumber() })
            #expect(found.test == .everyFlip)
            #expect(try found.p == parts[1].plainNumber())
        }
    }

    @Test func randomFlipsComeNearTheExactValue() throws {
        let parts = try Golden.json("evaluation/answers.json").at("many flips").list()
        let exact = try parts[1].plainNumber()
        let found = Resampling(draws: 20_000).signFlip(
            try parts[0].list().map { try $0.plainNumber() })
        #expect(found.test == .randomFlips)
        #expect(abs(found.p - exact) < 4 * (exact * (1 - exact) / 20_000).squareRoot())
    }

    /// The mean of n draws is distributed as a binomial: its quantiles are known.
    @Test func bootstrapIntervalOfABinaryScore() throws {
        let values = (0..<400).map { $0 % 10 < 3 ? 1.0 : 0.0 }
        let resampling = Resampling(seed: 7)
        let means = resampling.means(values)
        #expect(means.count == 10_000)
        let mean = means.reduce(0, +) / 10_000
        let variance = means.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 10_000
        let expected = 0.3 * 0.7 / 400
        #expect(abs(mean - 0.3) < 4 * (expected / 10_000).squareRoot())
        #expect(abs(variance / expected - 1) < 4 * (2.0 / 10_000).squareRoot())
        // Binomial(400, 0.3): 2.5 % and 97.5 % lie at 102 and 138.
        let interval = try #require(resampling.interval(Clusters(values)))
        #expect(abs(interval.low - 102.0 / 400) <= 1.0 / 400)
        #expect(abs(interval.high - 138.0 / 400) <= 1.0 / 400)
        #expect(resampling.means(values) == means)
        #expect(resampling.means(values, stream: 1) != means)
        #expect(Resampling(seed: 8).means(values) != means)
        // An odd number of values: the last draw takes half a random word.
        let odd = resampling.means([0, 1, 5])
        let sums: Set<Double> = [0, 1, 2, 3, 5, 6, 7, 10, 11, 15]
        #expect(Set(odd.map { ($0 * 3).rounded() }) == sums)
        #expect(abs(odd.reduce(0, +) / 10_000 - 2) < 0.06)
    }

    @Test func quantilesAreInterpolated() {
        let interval = Resampling.interval(ofDraws: [4, 0, 1, 3, 2])
        #expect(interval == Interval(low: 0.1, high: 3.9))
        #expect(Resampling().interval(Clusters([])) == nil)
        #expect(Resampling().interval(Clusters([0.5, 0.5])) == Interval(low: 0.5, high: 0.5))
    }
}

@Suite struct EvaluationTests {
    private func aerial(
        _ index: Int, _ setting: String, _ answer: String, truth: String = "yes",
        type: String? = nil
    ) -> ScoredAnswer {
        ScoredAnswer(
            domain: .rs, index: index, setting: setting, groundTruth: .string(truth),
            answer: answer, attributes: type.map { ["type": $0] } ?? [:], source: "test")
    }

    @Test func typesAndTheirAverage() throws {
        let answers = [
            aerial(0, "none", "Yes.", type: "presence"), aerial(1, "none", "yes", type: "presence"),
            aerial(2, "none", "yes", type: "presence"), aerial(3, "none", "no", type: "presence"),
            aerial(4, "none", "no", type: "count"), aerial(5, "none", "yes", type: "count"),
            aerial(6, "none", "no"),
        ]
        let score = try #require(Evaluator().scores(of: answers, forms: [.official]).first)
        #expect(score.metric == "RSVQA accuracy" && score.answers == 7)
        #expect(score.score?.value == 4.0 / 7)
        #expect(score.groups.map(\.name) == ["count", "presence"])
        #expect(score.groups.map(\.score.value) == [0.5, 0.75])
        #expect(score.groups.map(\.score.samples) == [2, 4])
        #expect(score.average?.value == 0.625 && score.average?.samples == 6)
        let interval = try #require(score.average?.interval)
        #expect(interval.low > 0 && interval.low < 0.3 && interval.high > 0.9 && interval.high <= 1)
        #expect(score.change == nil)
        let exact = try #require(Evaluator().scores(of: answers, forms: [.mmneuron]).first)
        #expect(exact.score?.value == 3.0 / 7 && exact.groups.isEmpty && exact.average == nil)
    }

    @Test func settingsArePairedByIndex() throws {
        var answers = (0..<10).map { aerial($0, "none", $0 < 8 ? "yes" : "no") }
        // In another order, one sample missing, one that only this setting has.
        answers += (1..<11).reversed().map { aerial($0, "lang", $0 == 10 || $0 < 3 ? "yes" : "no") }
        let scores = try Evaluator().scores(of: answers, forms: [.official])
        #expect(scores.map(\.setting) == ["none", "lang"])
        #expect(scores.map { $0.score?.value } == [0.8, 0.3])
        let change = try #require(scores[1].change)
        #expect(change.against == "none" && change.pairs == 9)
        #expect(change.difference == -5.0 / 9)
        #expect(change.test == .signs && change.p == 0.0625)
        #expect(change.interval.low < change.difference && change.interval.high < 0)
        #expect(scores[0].change == nil)
        #expect(try Evaluator(baseline: "vision").scores(of: answers)[1].change == nil)
    }

    @Test func repeatedIndicesArePairedInOrder() throws {
        let answers = ["none", "lang"].flatMap { setting in
            ["yes", "no"].map { aerial(3, setting, $0) }
        }
        let scores = try Evaluator().scores(of: answers, forms: [.official])
        #expect(scores[1].change?.pairs == 2 && scores[1].change?.difference == 0)
    }

    @Test func drivingNeedsAJudge() throws {
        var answer = ScoredAnswer(
            domain: .ad, index: 0, setting: "none", question: "Why?",
            groundTruth: .array([.string("Red light"), .string("stop")]), answer: " RED LIGHT ",
            source: "test")
        let missing = try Evaluator().scores(of: [answer])
        #expect(missing.count == 2)
        for score in missing {
            #expect(score.score == nil && score.missing?.contains("--judge") == true)
        }
        let judged = try Evaluator(judge: SimilarityJudge()).scores(of: [answer])
        #expect(judged.map { $0.score?.value } == [1, 0])
        answer.question = nil
        #expect(throws: InputError.self) {
            try Evaluator(judge: SimilarityJudge()).scores(of: [answer])
        }
    }

    @Test func exactMatchStandsInForTheJudge() throws {
        let truth: JSONValue = .array([.string("Red light"), .string("stop.")])
        let answers = [" RED LIGHT.", "stop", "light", "", "stop now"].enumerated().map {
            ScoredAnswer(
                domain: .ad, index: $0, setting: "none", question: "Why?", groundTruth: truth,
                answer: $1, source: "test")
        }
        let scores = try Evaluator(judge: ExactJudge()).scores(of: answers)
        #expect(scores.map { $0.score?.value } == [0.4, 0.4])
        #expect(scores[0].metric == "exact match, not Lingo-Judge")
        #expect(scores[1].metric == "exact match, not Lingo-Judge, any row")
    }

    @Test func plainTextsAsAnnotators() throws {
        let answer = ScoredAnswer(
            domain: .com, index: 0, setting: "none",
            groundTruth: .array(["a cat", "cat", "dog", "dog"].map { .string($0) }),
            answer: "The cat.", source: "test")
        let scores = try Evaluator().scores(of: [answer])
        // Of the others 1, 1, 2, 2 agree.
        #expect(abs((scores[0].score?.value ?? 0) - 0.5) < 1e-15)
        #expect(scores[1].missing?.contains("answer_confidence") == true)
    }

    @Test func readsLines() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "a.jsonl",
            text: """
                {"index": 7, "ground_truth": {"answers": [{"answer": "cat", "answer_id": 1}, \
                {"answer": "cat", "answer_id": 2}], "question_type": "what"}, "answer": ["cat", "x"]}

                {"ground_truth": ["cat"], "answer": "dog", "attributes": {"answer_type": "other"}}
                {"ground_truth": ["cat"], "answer": "", "problem": "no picture"}
                """)
        let path = folder.path + "/a.jsonl"
        let (answers, unanswered) = try ScoredAnswer.read(path: path, domain: .com)
        #expect(unanswered == 1)
        #expect(answers.map(\.index) == [7, 1])
        #expect(answers.map(\.answer) == ["cat", "dog"])
        #expect(answers.map(\.attributes) == [["question_type": "what"], ["answer_type": "other"]])
        #expect(try answers[0].records().count == 2)
    }

    @Test(arguments: [
        ("", "no answers"), ("[1]", "object"), ("{\"answer\": \"x\"}", "ground_truth"),
        ("{\"ground_truth\": \"x\"}", "answer"),
        ("{\"ground_truth\": \"x\", \"answer\": 3}", "answer"),
        ("{\"ground_truth\": \"x\", \"answer\": \"x\", \"index\": \"1\"}", "index"),
        ("{\"ground_truth\": \"x\", \"answer\": \"x\", \"index\": -3}", "negative"),
        (
            """
            {"ground_truth": "x", "answer": "x", "index": 1}
            {"ground_truth": "x", "answer": "y", "index": 1}
            """, "an answer before"
        ),
        (
            """
            {"ground_truth": "x", "answer": "x", "index": 1}
            {"ground_truth": "x", "answer": "y"}
            """, "an answer before"
        ),
        ("{\"ground_truth\": \"x\", \"answer\": \"x\", \"choices\": [\"a\"]}", "four"),
        ("{\"ground_truth\"", "JSON"),
    ]) func brokenLines(_ text: String, _ word: String) throws {
        let folder = try TemporaryFolder()
        try folder.write("a.jsonl", text: text)
        do {
            _ = try ScoredAnswer.read(path: folder.path + "/a.jsonl", domain: .med)
            Issue.record("read without complaint")
        } catch let error as InputError {
            #expect(error.code == (word == "JSON" ? .badHeader : .badInput), "\(error)")
            #expect("\(error)".contains(word), "\(error)")
        }
    }

    /// One sample without references stops its own domain, and is named; the others are scored.
    @Test func aDomainThatCannotBeScoredLeavesTheOthers() throws {
        func answer(_ domain: Domain, _ index: Int, _ truth: String) throws -> ScoredAnswer {
            ScoredAnswer(
                domain: domain, index: index, setting: "none", question: "?",
                groundTruth: try JSONValue(parsing: Array(truth.utf8), file: "test"),
                answer: "B", source: "answers.jsonl")
        }
        let answers = [
            try answer(.med, 1, "\"B\""), try answer(.doc, 2, "[\"B\"]"), try answer(.doc, 3, "[]"),
        ]
        let found = try Evaluator().evaluate(answers)
        #expect(Set(found.scores.map(\.domain)) == [.med])
        #expect(found.problems.map(\.domain) == [.doc])
        #expect(found.problems.first?.error.description.contains("3") == true)
        #expect(throws: InputError.self) { try Evaluator().scores(of: answers) }
    }

    @Test(arguments: [
        (Domain.ad, "3"), (.med, "[\"A\"]"), (.rs, "{\"question\": 1}"), (.com, "\"cat\""),
        (.com, "[]"), (.com, "[{\"answer\": 2, \"answer_confidence\": \"yes\"}]"), (.doc, "[]"),
        (.doc, "[1]"),
    ]) func groundTruthOfAnotherForm(_ domain: Domain, _ truth: String) throws {
        let answer = ScoredAnswer(
            domain: domain, index: 12, setting: "none", question: "?",
            groundTruth: try JSONValue(parsing: Array(truth.utf8), file: "test"), answer: "cat",
            source: "test")
        for form in MetricForm.allCases {
            do {
                _ = try Evaluator(judge: SimilarityJudge()).scores(of: [answer], forms: [form])
                Issue.record("scored without complaint")
            } catch let error as InputError {
                #expect("\(error)".contains("\(domain.rawValue) 12"), "\(error)")
            }
        }
    }

    @Test func answersOfAStudy() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        let study = try Study(path: path, access: .writing)
        for setting in ["none", "lang"] {
            let set = AnswerSet(
                domain: .rs, split: "val", setting: setting, model: "m", bench: "b", options: "{}",
                mask: [:])
            try study.begin(set)
            for position in 0..<4 {
                let text = setting == "none" && position < 3 ? "Yes" : "no"
                let answer = StoredAnswer(
                    position: position, index: position * 2, question: "Is it?",
                    groundTruth: .string("yes"), attributes: ["type": "presence"],
                    text: position == 1 ? nil : text,
                    problem: position == 1 ? "no picture" : nil)
                try study.add([(answer, set)])
            }
        }
        let held = try Study(path: path, access: .reading).scoredAnswers()
        #expect(held.unanswered == 2 && held.answers.map(\.index) == [0, 4, 6, 0, 4, 6])
        #expect(held.answers[0].question == "Is it?")
        let scores = try Evaluator().scores(of: held.answers, forms: [.official])
        #expect(scores.map { $0.score?.value } == [2.0 / 3, 0])
        #expect(scores[0].groups.map(\.name) == ["presence"])
        #expect(scores[1].change?.difference == -2.0 / 3 && scores[1].change?.p == 0.5)
        #expect(try study.scoredAnswers(domains: [.com]).answers.isEmpty)
        #expect(try study.scoredAnswers(split: "test").answers.isEmpty)
    }
}
