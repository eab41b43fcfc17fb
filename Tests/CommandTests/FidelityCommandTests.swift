import Foundation
import Support
import Testing

/// `mmq fidelity`, through the binary.
@Suite struct FidelityCommandTests {
    private func fidelity(
        _ model: String, next reference: String, bench: String = goldenBench, _ more: String...
    ) -> [String] {
        [
            "fidelity", "--reference", reference, "--model", model, "--bench", bench, "--domain",
            "rs,com",
        ] + more
    }

    /// Two formats answer as `generate` lets them, and their scores stand next to each other as `compare`
    /// has them.
    @Test func answersAreThoseOfStudies() throws {
        let folder = try TemporaryFolder()
        let assets = Golden.repository + "/models/demo", bench = assets + "/bench"
        let domains = ["--domain", "com,doc"], most = ["--samples", "130", "--max-tokens", "12"]
        for (name, type) in [("a", "f16"), ("b", "q4_0")] {
            try expectExit(
                0,
                [
                    "convert", assets + "/llava-next", "--output", folder(name), "--type", type,
                    "--vision-type", "f16",
                ])
            try expectExit(
                0,
                [
                    "generate", "--model", folder(name), "--bench", bench, "--study",
                    folder("study-" + name), "--masks", "none", "--greedy", "--batch", "8",
                ] + domains + most)
        }
        let compared = try expectExit(
            0,
            ["compare", "--study", folder("study-a"), "--study", folder("study-b"), "--json"]
        ).object()
        let document = try expectExit(
            0,
            [
                "fidelity", "--reference", folder("a"), "--model", folder("b"), "--bench", bench,
                "--split", "val", "--json",
            ] + domains + most
        ).object()
        let found = try #require((document["models"] as? [[String: Any]])?.first)
        for key in ["answers", "scores"] {
            let (mine, theirs) = (found[key] as? [Any], compared[key] as? [Any])
            #expect(try NSArray(array: #require(mine)) == NSArray(array: #require(theirs)))
        }
        // They do differ, or nothing would be seen here.
        let answers = try #require(found["answers"] as? [[String: Any]])
        #expect(answers.contains { $0["equal"] as? Int != $0["samples"] as? Int })
        let changes = try #require(found["scores"] as? [[String: Any]]).map {
            ($0["change"] as? [String: Any])?["difference"] as? Double
        }
        #expect(changes.contains { $0 != 0 })
    }

    /// Of every model speeds and samples; no answers where none are asked for.
    @Test func whatIsPrinted() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let words = fidelity(model, next: model, "--samples", "2")
        let text = try expectExit(0, words + ["--max-tokens", "4"]).output
        #expect(text.hasPrefix("next to \(model), samples: rs 2, com 2\n"))
        #expect(text.contains("prompt t/s") && text.contains("\nanswers and scores\n"))
        let without = try expectExit(0, words + ["--max-tokens", "0"]).output
        #expect(!without.contains("answers and") && !without.contains("prompt t/s"))
        let document = try expectExit(0, words + ["--max-tokens", "4", "--json"]).object()
        let found = try #require((document["models"] as? [[String: Any]])?.first)
        for cost in [document["cost"], found["cost"]] {
            let speed = try #require((cost as? [String: Any])?["speed"] as? [String: Any])
            #expect((speed["promptTokens"] as? Int ?? 0) > 0)
            #expect(speed["answerTokens"] as? Int == 4 * 3)
            #expect((speed["promptSeconds"] as? Double ?? 0) > 0)
            #expect((speed["answerSeconds"] as? Double ?? 0) > 0)
        }
    }

    private func changing(
        _ bench: String, _ file: String, _ key: String, _ change: (inout [[String: Any]]) -> Void
    ) throws {
        let path = URL(fileURLWithPath: bench + file)
        let object = try JSONSerialization.jsonObject(with: Data(contentsOf: path))
        var whole = try #require(object as? [String: Any])
        var entries = try #require(whole[key] as? [[String: Any]])
        change(&entries)
        whole[key] = entries
        try JSONSerialization.data(withJSONObject: whole).write(to: path)
    }

    /// A ground truth that cannot be scored is told, and the rest stands; a question without room for
    /// an answer is none that was answered; a judge that is not there is found out first.
    @Test func whatCannotBeScored() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        let annotations = try FileManager.default.subpathsOfDirectory(atPath: bench)
            .filter { $0.contains("val2014_annotations") }
        try changing(bench, "/" + #require(annotations.first), "annotations") { entries in
            for i in entries.indices { entries[i]["answers"] = [["answer_confidence": "yes"]] }
        }
        try changing(bench, "/rs/USGS_split_val_questions.json", "questions") { entries in
            for i in entries.indices.dropFirst(2) {
                entries[i]["question"] = String(repeating: "many words ", count: 4000)
            }
        }
        let result = try expectExit(
            0,
            fidelity(
                model, next: model, bench: bench, "--split", "val", "--samples", "3",
                "--max-tokens", "2", "--json"))
        #expect(result.errors.contains("note: com answers: not scored: \(bench): com "))
        let document = try result.object()
        let samples = try #require(document["samples"] as? [[String: Any]])
        #expect(samples.map { $0["answered"] as? Int } == [1, 3])
        let found = try #require((document["models"] as? [[String: Any]])?.first)
        let answers = try #require(found["answers"] as? [[String: Any]])
        #expect(answers.map { $0["samples"] as? Int } == [1, 3])
        let scores = try #require(found["scores"] as? [[String: Any]])
        #expect(Set(scores.compactMap { $0["domain"] as? String }) == ["rs"])
        var words = fidelity(model, next: model, "--judge", folder("none"))
        words[words.firstIndex(of: "rs,com")!] = "ad"
        try expectRefusal(words, naming: [folder("none")])
    }

    /// Models that cannot be compared, and a bench of which no sample can be taken, are no results.
    @Test func fidelityOfNothing() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let other = try GoldenModel.blip.convert(in: folder, name: "other")
        try expectRefusal(
            fidelity(other, next: model, bench: goldenBench),
            naming: [other + "/language-", model + "/language-", "qformer"])
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        try FileManager.default.removeItem(atPath: bench + "/rs/Data")
        var nothing = fidelity(model, next: model, bench: bench)
        nothing[nothing.firstIndex(of: "rs,com")!] = "rs"
        let compare =
            ["compare", "--model", model, "--model", model, "--bench", bench]
            + ["--domain", "rs", "--samples", "1"]
        for words in [nothing, compare] {
            let result = try expectExit(2, words)
            #expect(result.output == "" && result.errors.contains("\(bench): expected samples"))
        }
    }
}
