import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

/// The whole way through the binary, on golden checkpoints and the committed bench.
@Suite struct EndToEndTests {
    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func fromCheckpointToNeurons(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder)
        let config = try Golden.json("\(golden.architecture)/\(golden.variant)/cases.json")
        let item = try #require(config["cases"]?.array?.first)
        let prompt = try #require(item["prompt"]?.text)
        let picture = try golden.picture(#require(item["name"]?.text))

        let inspection = try expectExit(0, ["inspect", model, "--json"]).object()
        #expect(inspection["architecture"] as? String == config["architecture"]?.text)
        #expect((inspection["problems"] as? [Any])?.isEmpty == true)

        for (mask, key) in [([], "greedy"), (["--mask", golden.mask], "greedy_masked")] {
            let answer = try expectExit(
                0,
                [
                    "ask", "--model", model, "--image", picture, "--raw-prompt", "--greedy",
                    "--max-tokens", "24", "--json",
                ] + mask + ["--", prompt]
            ).object()
            let expected = try #require(item[key]?["tokens"]?.array).compactMap(\.integer)
            #expect(answer["tokens"] as? [Int] == expected, "\(key)")
            #expect(answer["prompt_tokens"] as? Int == item["tokens"]?.integer)
            #expect(answer["image_tokens"] as? Int == item["image_tokens"]?.integer)
        }

        let modules = try study(model, in: folder)
        try exportAndImport(modules, golden, in: folder)
    }

    /// Counts two domains, finds neurons, and gives back the modules.
    private func study(_ model: String, in folder: TemporaryFolder) throws -> [String] {
        let activation = [
            "activation", "--model", model, "--bench", goldenBench, "--study", folder("study"),
            "--domain", "rs,com", "--samples", "9", "--json",
        ]
        let passes = try #require(expectExit(0, activation).json() as? [[String: Any]])
        let domains = passes.compactMap { ($0["pass"] as? [String: Any])?["domain"] as? String }
        #expect(domains == ["rs", "com"])
        // Once more finds nothing left to do, and says the same.
        let again = try #require(expectExit(0, activation).json() as? [[String: Any]])
        #expect(NSArray(array: again) == NSArray(array: passes))

        let found = try #require(
            expectExit(0, ["identify", "--study", folder("study"), "--model", model, "--json"])
                .json() as? [[String: Any]])
        for module in found {
            let layers = try #require(module["layers"] as? Int)
            let perLayer = try #require(module["neuronsPerLayer"] as? Int)
            let neurons = try #require(module["neurons"] as? [String: [[Int]]])
            #expect(Set(neurons.keys) == ["rs", "com"])
            for lists in neurons.values {
                #expect(lists.count == layers)
                #expect(lists.allSatisfy { $0.allSatisfy((0..<perLayer).contains) })
            }
            // round-half-even of a hundredth
            let all = layers * perLayer
            #expect(
                module["selected"] as? Int
                    == Int((Double(all) * 0.01).rounded(.toNearestOrEven)))
        }
        return try found.map { try #require($0["module"] as? String) }
    }

    private func exportAndImport(
        _ modules: [String], _ golden: GoldenModel, in folder: TemporaryFolder
    ) throws {
        let export = ["export", "--study", folder("study"), "--output", folder("out"), "--json"]
        let files = try #require(expectExit(0, export).object()["files"] as? [String])
        let name =
            ["llava-next": "llava", "instructblip": "blip"][golden.architecture]
            ?? golden.architecture
        let expected =
            ["rs", "com"].map { "activation/\($0).safetensors" } + modules.map { "mask/\($0).json" }
        // Blocks and moments are for others to look at: they are not read back.
        let others = ["rs", "com"].flatMap { domain in
            ["blocks", "moments"].map { "\($0)/\(domain).safetensors" }
        }
        #expect(Set(files) == Set((expected + others).map { folder("out/\(name)/\($0)") }))
        let sums = [
            "export", "--study", folder("study"), "--output", folder("sums"), "--no-blocks",
            "--no-moments",
        ]
        #expect(
            Set(try expectExit(0, sums).output.split(separator: "\n").map(String.init))
                == Set(expected.map { folder("sums/\(name)/\($0)") }))

        let counts = try SafetensorsFile(path: folder("out/\(name)/activation/rs.safetensors"))
        for module in modules {
            let log = try counts.tensor(module + "_log")
            #expect(log.type == .i64)
            #expect(try counts.tensor(module + "_value").type == .f64)
            #expect(try counts.tensor(module + "_value").shape == log.shape)
            #expect(try counts.integers(module + "_len").count == 1)
        }

        // Into a second study and out again: the same numbers.
        let imported = try expectExit(
            0, ["import", "--study", folder("second"), folder("out/\(name)")])
        #expect(imported.output.split(separator: "\n").count == expected.count)
        try expectExit(
            0, ["export", "--study", folder("second"), "--output", folder("out2"), "--name", name])
        for file in expected {
            let (first, second) = (folder("out/\(name)/\(file)"), folder("out2/\(name)/\(file)"))
            guard file.hasSuffix(".safetensors") else {
                #expect(try JSONValue(file: first) == JSONValue(file: second), "\(file)")
                continue
            }
            let (a, b) = try (SafetensorsFile(path: first), SafetensorsFile(path: second))
            for module in modules {
                #expect(try a.integers(module + "_log") == b.integers(module + "_log"))
                #expect(try a.doubles(module + "_value") == b.doubles(module + "_value"))
                #expect(try a.integers(module + "_len") == b.integers(module + "_len"))
            }
        }
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func quantizedModelsRunToo(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        for type in ["f32", "bf16", "q8_0", "q4_0", "iq4_nl"] {
            let model = try golden.convert(in: folder, type: type, name: type)
            try expectExit(0, ["inspect", model])
            try expectExit(0, golden.trace(model, to: folder("trace")))
            let logits = try SafetensorsFile(path: folder("trace")).floats("last_logits")
            #expect(logits.allSatisfy { $0.isFinite })
        }
    }

    @Test func benchMeasures() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q4_0", visionType: "q8_0")
        let arguments = [
            "bench", "--model", model, "-p", "16", "-n", "4", "--repetitions", "1", "--image",
            GoldenModel.llava.picture(),
        ]
        _ = try expectExit(0, arguments + ["--json"]).object()
        #expect(try expectExit(0, arguments).output.contains("tokens/s"))
    }

    @Test func benchCheckSaysWhatIsMissing() throws {
        let folder = try TemporaryFolder()
        let check = try expectExit(0, ["bench-check", goldenBench, "--json"])
        _ = try check.json()
        try expectExit(2, ["bench-check", folder.path])
        // What is not there is no failure unless it was asked for; what is broken is one.
        try expectExit(2, ["bench-check", goldenBench, "--domain", "doc,rs", "--split", "train"])
        let copy = folder("bench")
        try FileManager.default.copyItem(atPath: goldenBench, toPath: copy)
        try expectExit(0, ["bench-check", copy])
        try folder.write("bench/rs/USGS_split_val_questions.json", text: "{")
        let broken = try expectExit(2, ["bench-check", copy])
        #expect(broken.output.contains("rs train (RSVQA): 24 questions"))
        try expectExit(2, ["bench-check", folder("nowhere")])
    }

    /// Data sets that are linked into a bench are read by every command that was told so, and by none
    /// that was not.
    @Test func aLinkedBenchIsReadWhereAllowed() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let (bench, data) = (folder("bench"), folder("bench/rs/Data"))
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        try FileManager.default.moveItem(atPath: data, toPath: folder("elsewhere"))
        try FileManager.default.createSymbolicLink(
            atPath: data, withDestinationPath: folder("elsewhere"))
        let rest = ["--bench", bench, "--domain", "rs", "--samples", "1"]
        let study = ["--model", model, "--study", folder("study")] + rest
        func expectAsked(_ command: [String]) throws {
            try expectRefusal(command, naming: ["elsewhere", "--allow-outside"])
            try expectExit(0, command + ["--allow-outside"])
        }
        try expectAsked(["activation"] + study)
        try expectAsked(["logit-lens"] + study)
        try expectAsked(["generate", "--masks", "none", "--max-tokens", "2", "--greedy"] + study)
        try expectAsked(["compare", "--model", model, "--model", model] + rest)
        // Neurons of one domain are found by looking at two.
        try expectExit(
            0,
            [
                "activation", "--model", model, "--study", folder("study"), "--bench", bench,
                "--domain", "com", "--samples", "1",
            ])
        try expectExit(0, ["identify", "--study", folder("study"), "--top-rate", "0.1"])
        try expectAsked(["deviation"] + study)
    }
}
