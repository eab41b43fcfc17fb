import Foundation
import MMQFormats
import Support
import Testing

/// What a study must notice, and what it must withstand.
@Suite struct StudyEdgeTests {
    private func activation(
        _ model: String, _ study: String, bench: String = goldenBench, more: String...
    ) -> [String] {
        ["activation", "--model", model, "--bench", bench, "--study", study, "--domain", "rs"]
            + more
    }

    private func convert(_ checkpoint: String, to output: String) throws -> String {
        try expectExit(
            0,
            [
                "convert", checkpoint, "--output", output, "--type", "f16", "--vision-type", "f16",
            ])
        return output
    }

    /// Counts of two models never end up in one study, however little they differ.
    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func aChangedModelIsAnotherModel(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try convert(golden.checkpoint, to: folder("model"))
        let study = folder("study")
        try expectExit(0, activation(model, study, more: "--samples", "1"))
        let copy = try CheckpointCopy(golden)
        // The same weights in another folder are the same model.
        let same = try convert(copy.path, to: copy.folder("same"))
        try expectExit(0, activation(same, study, more: "--samples", "2"))

        let config = try copy.data("config.json")
        try copy.editSection("text_config") { $0["rms_norm_eps"] = 2e-3 }
        let norm = try convert(copy.path, to: copy.folder("norm"))
        try copy.write("config.json", config)
        try copy.editPictures { $0["image_mean"] = [0.25, 0.5, 0.5] }
        let picture = try convert(copy.path, to: copy.folder("picture"))
        let weights = try CheckpointCopy(golden)
        var bytes = try weights.data("model.safetensors")
        bytes[bytes.count - 2] ^= 1  // the last bit of one weight
        try weights.write("model.safetensors", bytes)
        let weight = try convert(weights.path, to: weights.folder("weight"))
        for other in [norm, picture, weight] {
            try expectRefusal(
                activation(other, study, more: "--samples", "3"), naming: [study, "model"])
        }
    }

    /// A question that the model cannot take is named and left out; the rest is counted, and looked at.
    @Test func samplesThatTheModelCannotTake() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        let path = URL(fileURLWithPath: "\(bench)/rs/USGS_split_train_questions.json")
        var document = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: path)) as? [String: Any])
        var questions = try #require(document["questions"] as? [[String: Any]])
        let long = String(repeating: "why ", count: 20_000)
        for i in questions.indices.dropFirst(2) { questions[i]["question"] = long }
        document["questions"] = questions
        try JSONSerialization.data(withJSONObject: document).write(to: path)

        let counted = try expectExit(0, activation(model, folder("study"), bench: bench))
        #expect(counted.output.contains("left out"))
        #expect(counted.errors.contains("rs sample"))
        #expect(counted.errors.contains("context"))
        let lens = try expectExit(
            0,
            [
                "logit-lens", "--model", model, "--bench", bench, "--study", folder("study"),
                "--domain", "rs", "--samples", "100",
            ])
        #expect(lens.output.contains("left out") && lens.errors.contains("left out"))
        // Put right, it is counted from the beginning: the numbers of a run that never saw it.
        try FileManager.default.removeItem(atPath: bench)
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        try expectExit(0, activation(model, folder("study"), bench: bench, more: "--again"))
        try expectExit(0, activation(model, folder("whole")))
        var files: [Data] = []
        for study in ["study", "whole"] {
            try expectExit(
                0,
                [
                    "export", "--study", folder(study), "--output", folder("out-" + study),
                    "--name", "m",
                ])
            files.append(
                try Data(
                    contentsOf: URL(
                        fileURLWithPath: folder("out-\(study)/m/activation/rs.safetensors"))))
        }
        #expect(files[0] == files[1])
    }

    /// Where one file of an import is broken, nothing of it is taken.
    @Test func importsAreWholeOrNothing() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let arguments = activation(model, folder("study"), more: "--samples", "2")
        try expectExit(0, arguments.map { $0 == "rs" ? "rs,com" : $0 })
        try expectExit(0, ["identify", "--study", folder("study"), "-d", "lang"])
        try expectExit(
            0,
            ["export", "--study", folder("study"), "--output", folder("out"), "--name", "m"])
        let counts = URL(fileURLWithPath: folder("out/m/activation/rs.safetensors"))
        let whole = try Data(contentsOf: counts)
        try whole.prefix(whole.count / 2).write(to: counts)
        try expectRefusal(
            ["import", "--study", folder("new"), folder("out")], naming: ["rs.safetensors"])
        #expect(try !folder.entries().contains { $0.hasPrefix("new") })
        try whole.write(to: counts)

        let mask = URL(fileURLWithPath: folder("out/m/mask/lang.json"))
        let text = try String(contentsOf: mask, encoding: .utf8)
        for selected in ["-1", "9223372036854775807"] {
            let changed = text.replacing(try Regex("\"selected\": [0-9]+")) { _ in
                "\"selected\": \(selected)"
            }
            #expect(changed != text)
            try Data(changed.utf8).write(to: mask)
            try expectRefusal(
                ["import", "--study", folder("new"), folder("out")],
                naming: ["lang.json", "selected", selected])
            #expect(try !folder.entries().contains { $0.hasPrefix("new") })
        }
        try Data(text.utf8).write(to: mask)
        try expectExit(0, ["import", "--study", folder("new"), folder("out")])
    }

    /// A lens over fewer words has other entropies: no change of the model's.
    @Test func lensesOverOtherWordsAreNotCompared() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        for (study, more) in [("a", []), ("b", ["--all-rows"])] {
            try expectExit(
                0,
                [
                    "logit-lens", "--model", model, "--bench", goldenBench, "--study",
                    folder(study), "--domain", "rs", "--samples", "1",
                ] + more)
        }
        try expectExit(0, activation(model, folder("a"), more: "--samples", "1"))
        try expectExit(0, activation(model, folder("b"), more: "--samples", "1"))
        let found = try expectExit(
            0, ["compare", "--study", folder("a"), "--study", folder("b"), "--json"]
        ).object()
        #expect((found["lens"] as? [Any])?.isEmpty == true)
        let notes = try #require(found["notes"] as? [String])
        #expect(notes.contains { $0.contains("rs lens") && $0.contains("words") }, "\(notes)")
        // A split that nothing was counted over holds nothing, neuron sets of another one neither.
        for study in ["a", "b"] {
            let counting = activation(model, folder(study), more: "--samples", "1")
            try expectExit(0, counting.map { $0 == "rs" ? "com" : $0 })
            try expectExit(0, ["identify", "--study", folder(study), "-d", "lang"])
        }
        try expectRefusal(
            ["compare", "--study", folder("a"), "--study", folder("b"), "--split", "nosuch"],
            naming: ["nothing to compare"])
    }

    /// Names that SQLite takes for something else, and settings that nobody has answered under.
    @Test func namesOfStudiesAndSettings() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        for name in [":memory:", "file:x"] {
            let arguments =
                activation(model, name, more: "--samples", "1")
            let result = try Command.shell("cd '\(folder.path)' && exec \"$@\"", arguments)
            #expect(result.code == 0, "\(name): \(result.errors)")
            #expect(try folder.entries().contains(name))
        }
        try expectExit(
            0,
            [
                "generate", "--model", model, "--bench", goldenBench, "--study", folder("s"),
                "--domain", "rs", "--masks", "none", "--samples", "1", "--greedy", "--max-tokens",
                "2",
            ])
        let evaluate = ["evaluate", "--study", folder("s"), "--draws", "100"]
        try expectExit(0, evaluate)
        try expectRefusal(evaluate + ["--baseline", "nosuch"], naming: ["nosuch", "none"])
    }

    /// A setting that is named twice is looked at, and shown, once.
    @Test func settingsNamedTwice() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let result = try expectExit(
            0,
            [
                "logit-lens", "--model", model, "--bench", goldenBench, "--study", folder("s"),
                "--domain", "rs", "--samples", "1", "--masks", "none, none",
            ])
        #expect(result.output.components(separatedBy: "masks none").count == 2)
    }

    /// What is asked of the machine's memory is checked against the model first.
    @Test func benchesWithinTheContext() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        for (option, value) in [
            ("-p", "99999999"), ("-p", "9223372036854775807"), ("-n", "9223372036854775807"),
            ("-n", "99999999"), ("--batch", "1000000"), ("--repetitions", "9223372036854775807"),
        ] {
            try expectRefusal(["bench", "--model", model, option, value], naming: [option])
        }
    }
}
