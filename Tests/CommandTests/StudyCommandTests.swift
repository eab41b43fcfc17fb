import Foundation
import Support
import Testing

/// The commands that follow identify, through the binary: each leaves the same behind however it is
/// run, and the next one finds what it needs.
@Suite struct StudyCommandTests {
    /// A study with two domains counted and neurons found, and its model.
    private func identified(
        _ golden: GoldenModel, in folder: TemporaryFolder
    ) throws -> (model: String, study: String) {
        let model = try golden.convert(in: folder, type: "q4_0", visionType: "q8_0")
        let study = folder("study")
        try expectExit(
            0,
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", study,
                "--domain", "rs,com", "--samples", "6",
            ])
        try expectExit(
            0,
            [
                "identify", "--study", study, "--top-rate", ".2", "--filter-rate", ".5",
                "--activation-bar", ".5",
            ])
        return (model, study)
    }

    private func answers(_ study: String, in folder: TemporaryFolder) throws -> [String: Data] {
        let output = folder("exported")
        try? FileManager.default.removeItem(atPath: output)
        try expectExit(0, ["export", "--study", study, "--output", output, "--name", "m"])
        let root = URL(fileURLWithPath: output + "/m/answers")
        var files: [String: Data] = [:]
        for case let file as URL in try #require(
            FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil))
        where file.pathExtension == "jsonl" {
            files[file.pathComponents.suffix(2).joined(separator: "/")] = try Data(contentsOf: file)
        }
        return files
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func answersDependOnNothingButTheirOptions(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let (model, study) = try identified(golden, in: folder)
        func generate(_ name: String, _ options: [String]) throws -> [String: Data] {
            try? FileManager.default.removeItem(atPath: folder(name))
            try FileManager.default.copyItem(atPath: study, toPath: folder(name))
            try expectExit(
                0,
                [
                    "generate", "--model", model, "--bench", goldenBench, "--study", folder(name),
                    "--domain", "rs,com", "--samples", "5", "--max-tokens", "10",
                ] + options)
            return try answers(folder(name), in: folder)
        }
        let masks = ["--masks", "none,lang,random"]
        let one = try generate("one", masks + ["--batch", "1", "--seed", "3"])
        #expect(
            Set(one.keys)
                == Set(
                    ["rs", "com"].flatMap { d in
                        ["none", "lang", "random"].map { "\(d)/\($0).jsonl" }
                    }
                ))
        #expect(one.values.allSatisfy { $0.count { $0 == 10 } == 5 })
        // Together, on more threads, setting by setting: the same. With another seed: not the same.
        #expect(
            try generate("four", masks + ["--batch", "4", "--seed", "3", "--threads", "3"]) == one)
        #expect(try generate("other", masks + ["--batch", "4", "--seed", "4"]) != one)
        let none = try generate("none", ["--masks", "none", "--batch", "3", "--seed", "3"])
        #expect(none == one.filter { $0.key.hasSuffix("none.jsonl") })

        let scores = try expectExit(
            0, ["evaluate", "--study", folder("four"), "--metric", "official", "--json"]
        ).object()
        let list = try #require(scores["scores"] as? [[String: Any]])
        #expect(list.count == 6)
        for score in list {
            let mean = try #require(score["score"] as? [String: Any])
            #expect(mean["samples"] as? Int == 5)
            #expect((score["setting"] as? String == "none") == (score["change"] == nil))
        }
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func lensAndDeviationGoOnWhereTheyStopped(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let (model, study) = try identified(golden, in: folder)
        for command in ["logit-lens", "deviation"] {
            func measured(_ name: String, _ samples: Int) throws -> Data {
                if !FileManager.default.fileExists(atPath: folder(name)) {
                    try FileManager.default.copyItem(atPath: study, toPath: folder(name))
                }
                let result = try expectExit(
                    0,
                    [
                        command, "--model", model, "--bench", goldenBench, "--study", folder(name),
                        "--domain", "rs,com", "--samples", "\(samples)", "--masks",
                        command == "deviation" ? "lang" : "none,lang", "--json",
                    ])
                _ = try result.json()
                return Data(result.output.utf8)
            }
            let whole = try measured("\(command)-whole", 5)
            _ = try measured("\(command)-parts", 2)
            #expect(try measured("\(command)-parts", 5) == whole, "\(command)")
            #expect(try measured("\(command)-whole", 5) == whole, "\(command)")
        }
        let same = try expectExit(
            0,
            [
                "compare", "--study", folder("logit-lens-whole"), "--study",
                folder("logit-lens-parts"), "--json",
            ]
        ).object()
        let lens = try #require(same["lens"] as? [[String: Any]])
        #expect(!lens.isEmpty)
    }
}
