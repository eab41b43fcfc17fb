import Foundation
import MMQBase
import Support
import Testing

@testable import MMQStudy

/// Comparisons that grow faster than a file: at once, or refused with a word.
@Suite(.timeLimit(.minutes(1))) struct EvaluationLimitsTests {
    /// The table of the definition, row by row.
    private func distance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var next = [i + 1]
            for (j, y) in b.enumerated() {
                next.append(min(next[j] + 1, row[j + 1] + 1, row[j] + (x == y ? 0 : 1)))
            }
            row = next
        }
        return row[b.count]
    }

    @Test func distancesAreThoseOfTheDefinition() {
        var random = SeededRandom(seed: 19)
        let letters: [Unicode.Scalar] = ["a", "b", "ß", "東", "\u{301}"]
        func text(_ count: Int, of kinds: Int) -> PythonText {
            PythonText(scalars: (0..<count).map { _ in letters[Int(random.next() >> 1) % kinds] })
        }
        let lengths = [0, 1, 7, 63, 64, 65, 128, 129, 200]
        for first in lengths {
            for second in lengths {
                for kinds in [1, 2, 5] {
                    let (a, b) = (text(first, of: kinds), text(second, of: kinds))
                    #expect(
                        ANLS.distance(a, b) == distance(a.scalars, b.scalars),
                        "\(a.string) \(b.string)")
                }
                // Alike but for a few places, across the words' ends.
                let a = text(first, of: 5)
                var b = a
                for _ in 0..<3 where !b.scalars.isEmpty {
                    b.scalars.remove(at: Int(random.next() >> 1) % b.scalars.count)
                    b.scalars.insert("x", at: Int(random.next() >> 1) % (b.scalars.count + 1))
                }
                #expect(ANLS.distance(a, b) == distance(a.scalars, b.scalars))
            }
        }
    }

    private func score(
        _ domain: Domain, _ truth: JSONValue, _ answer: String, choices: [String]? = nil
    )
        throws
    {
        let answer = ScoredAnswer(
            domain: domain, index: 3, setting: "none", groundTruth: truth, answer: answer,
            choices: choices, source: "answers.jsonl")
        _ = try Evaluator(resampling: Resampling(draws: 10)).scores(of: [answer])
    }

    private func expectRefused(_ words: String, _ work: () throws -> Void) {
        let error = #expect(throws: InputError.self) { try work() }
        #expect(error?.code == .badInput && error?.file == "answers.jsonl")
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test func longTexts() throws {
        func text(_ count: Int) -> String { String(repeating: "ab", count: count / 2) }
        try score(.doc, .array([.string(text(8192))]), text(160) + "c")
        expectRefused("8194 characters") {
            try score(.doc, .array([.string(text(8194))]), "a")
        }
        expectRefused("500000 characters") {
            try score(.doc, .array([.string("a")]), text(500_000))
        }
        let choices = ["A: a", "B: b", "C: c", text(1026)]
        expectRefused("1026 characters") {
            try score(.med, .string("A"), "A", choices: choices)
        }
    }

    @Test func manyAnnotators() throws {
        func records(_ count: Int) -> JSONValue {
            .array((0..<count).map { .string("answer \($0)") })
        }
        try score(.com, records(1000), "answer 7")
        expectRefused("60000 annotators") { try score(.com, records(60_000), "answer 7") }
    }

    /// Any number of questions may name one answer, and each reads it again.
    @Test func longAnswersOfABench() throws {
        let folder = try TemporaryFolder()
        let questions =
            #"{"questions":[{"img_id":0,"active":true,"answers_ids":[0],"question":"q"}]}"#
        try folder.write("rs/USGS_split_train_questions.json", text: questions)
        func open(_ length: Int) throws {
            let record = #"{"answer":"\#(String(repeating: "a", count: length - 13))"}"#
            try folder.write(
                "rs/USGS_split_train_answers.json", text: #"{"answers":[\#(record)]}"#)
            _ = try BenchSplit(
                bench: folder.path, domain: .rs, split: "train", form: .simple)
        }
        try open(16_384)
        let error = #expect(throws: InputError.self) { try open(16_385) }
        #expect(error?.file == folder("rs/USGS_split_train_answers.json"))
        #expect(error?.description.contains("16385 bytes") == true)
    }

    @Test func manyColumns() throws {
        let folder = try TemporaryFolder()
        let rows = String(repeating: "1\n", count: 1000)
        func header(_ count: Int) -> String {
            (0..<count).map { "c\($0)" }.joined(separator: ",") + "\n"
        }
        try folder.write("t.csv", text: header(100) + rows)
        #expect(try CSVFile(path: folder("t.csv")).count == 1000)
        try folder.write("t.csv", text: header(100_000) + rows)
        let error = #expect(throws: InputError.self) { try CSVFile(path: folder("t.csv")) }
        #expect(error?.code == .tooLarge && error?.file == folder("t.csv"))
    }
}
