import Foundation
import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// Answers in files, and back.
@Suite struct GenerationFilesTests {
    @Test func importReadsWhatExportWrote() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let study = try fixture.study("s")
        for domain in [Domain.rs, .com] {
            try fixture.run(study, fixture.plan(["none", "all", "random"]), domain: domain)
        }
        let out = fixture.folder.path + "/out"
        let files = try StudyExport.write(study, to: out)
            .filter { $0.contains("/answers/") }.map { String($0.dropFirst(out.count + 1)) }
        let names = [
            "none.jsonl", "all.jsonl", "all.mask.json", "random.jsonl", "random.mask.json",
        ]
        #expect(
            files
                == ["rs", "com"].flatMap { domain in
                    names.map { "llava/answers/\(domain)/\($0)" }
                })
        let lines = try String(contentsOfFile: out + "/" + files[0], encoding: .utf8)
            .split(separator: "\n")
        let answers = try study.answers(domain: .rs, split: "val", setting: "none")
        #expect(lines.count == answers.count)
        for (line, answer) in zip(lines, answers) {
            let value = try JSONValue(parsing: Array(line.utf8), file: "line")
            guard case .object(let object) = value else {
                Issue.record("no object")
                continue
            }
            #expect(object.keys.prefix(3) == ["index", "ground_truth", "answer"])
            #expect(value["index"]?.integer == answer.index)
            #expect(value["ground_truth"] == answer.groundTruth)
            #expect(value["answer"]?.text == answer.text)
        }
        // The neurons of the control are a mask that ask takes.
        let mask = try NeuronMask(
            path: out + "/llava/answers/rs/random.mask.json", modules: fixture.model.modules)
        let set = try #require(
            try study.answerSet(domain: .rs, split: "val", setting: "random"))
        #expect(mask.layers == set.mask)

        let copy = try Study(path: fixture.folder.path + "/copy.sqlite", access: .writing)
        let read = try StudyExport.read([out], into: copy)
        #expect(read.count { $0.hasSuffix(".jsonl") } == 6)
        #expect(try copy.answerSets().map(\.mask) == study.answerSets().map(\.mask))
        let back = try GenerationFixture.answers(copy)
        let expected = try GenerationFixture.answers(study).mapValues {
            $0.map { answer in
                var answer = answer
                answer.tokens = []
                answer.promptTokens = 0
                return answer
            }
        }
        #expect(back == expected)
        // Twice is the same as once, but a run's answers are not overwritten.
        try StudyExport.read([out], into: copy)
        #expect(try GenerationFixture.answers(copy) == expected)
        let error = #expect(throws: InputError.self) {
            try AnswerFiles.read([out + "/" + files[0]], into: study)
        }
        #expect(error?.code == .mismatch)
        // Imported neuron sets serve this model; imported answers are not gone on with.
        #expect(throws: InputError.self) { try fixture.run(copy, fixture.plan(["none"])) }
        #expect(try fixture.run(copy, fixture.plan(["lang"], samples: 1)).answered == 1)
    }

    @Test func problemsSurvive() throws {
        let folder = try TemporaryFolder()
        let study = try Study(path: folder.path + "/s.sqlite", access: .writing)
        let set = AnswerSet(
            domain: .doc, split: "val", setting: "none", model: "m", bench: "b", options: "{}",
            mask: [:])
        let answers = [
            StoredAnswer(
                position: 3, index: 9, groundTruth: .array([.string("é \"x\""), .null]),
                text: "", tokens: [5, 2]),
            StoredAnswer(
                position: 4, index: 1, question: "q\n", groundTruth: .string(""),
                attributes: ["type": "presence", "a/b": "ü"], text: nil, problem: "too long"),
            // A model can say the token <0x00>.
            StoredAnswer(
                position: 5, index: 2, question: "\u{0}?", groundTruth: .string("x\u{0}y"),
                text: "before\u{0}behind\u{0}", tokens: [3, 2]),
        ]
        try study.begin(set)
        for answer in answers.reversed() { try study.add([(answer, set)]) }
        #expect(try study.answers(domain: .doc, split: "val", setting: "none") == answers)
        // An answer is added once.
        #expect(throws: InputError.self) { try study.add([(answers[0], set)]) }
        let files = try AnswerFiles.write(study, to: folder.path + "/out")
        #expect(files == [folder.path + "/out/answers/doc/none.jsonl"])
        var expected = answers
        expected[0].tokens = []
        expected[2].tokens = []
        #expect(try AnswerFiles.answers(files[0]) == expected)
        let other = AnswerSet(
            domain: .doc, split: "val", setting: "lang", model: "m", bench: "b", options: "{}",
            mask: [:])
        #expect(throws: InputError.self) { try study.add([(answers[0], other)]) }
    }

    @Test func filesOfTheOfficialCodeAreTaken() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "blip/answers/ad/qformer.jsonl",
            text: """
                {"index": 7, "ground_truth": ["x"], "answer": ["list of one"]}

                {"ground_truth": "y", "answer": "text", "index": 2}
                """)
        let study = try Study(path: folder.path + "/s.sqlite", access: .writing)
        #expect(try StudyExport.read([folder.path + "/blip"], into: study).count == 1)
        let answers = try study.answers(domain: .ad, split: "val", setting: "qformer")
        #expect(answers.map(\.text) == ["list of one", "text"])
        #expect(answers.map(\.index) == [7, 2])
        study.discardIfNewAndEmpty()
        #expect(try study.answerSets().map(\.setting) == ["qformer"])
    }

    @Test func wrongFilesAreRefused() throws {
        let folder = try TemporaryFolder()
        let study = try Study(path: folder.path + "/s.sqlite", access: .writing)
        for (number, text) in [
            #"{"ground_truth": "y", "answer": "text"}"#, #"{"index": 1, "answer": "text"}"#,
            #"{"index": 1, "ground_truth": "y"}"#,
            #"{"index": 1, "ground_truth": "y", "answer": ["a", "b"]}"#,
            #"{"index": 1, "ground_truth": "y", "answer": "a", "position": -1}"#,
            #"{"index": -1, "ground_truth": "y", "answer": "a"}"#,
            #"{"index": 1, "ground_truth": "y", "answer": "a"}"# + "\n"
                + #"{"index": 1, "ground_truth": "y", "answer": "b"}"#,
            #"{"index": 1, "ground_truth": "y", "answer": "a", "attributes": {"type": 3}}"#,
            "{\"index\": 1, \"ground_truth\": 1, \"answer\": \"a\", \"position\": 1}\n"
                + "{\"index\": 2, \"ground_truth\": 1, \"answer\": \"a\", \"position\": 1}",
            "[1]",
        ].enumerated() {
            try folder.write("answers/rs/\(number).jsonl", text: text)
            let error = #expect(throws: InputError.self, "\(text)") {
                try AnswerFiles.read([folder.path + "/answers/rs/\(number).jsonl"], into: study)
            }
            #expect(error?.code == .badInput)
        }
        try folder.write("answers/rs/x.jsonl", text: "{")
        #expect(throws: InputError.self) {
            try AnswerFiles.read([folder.path + "/answers/rs/x.jsonl"], into: study)
        }
        try folder.write("answers/mars/x.jsonl", text: "")
        #expect(throws: InputError.self) {
            try AnswerFiles.read([folder.path + "/answers/mars/x.jsonl"], into: study)
        }
        #expect(try study.answerSets().isEmpty)
    }
}
