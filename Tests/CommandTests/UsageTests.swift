import Foundation
import Support
import Testing

/// What every command promises: exit codes, where results go, help, threads, instruction sets.
@Suite struct UsageTests {
    static let options: [(command: String, options: [String])] = [
        (
            "convert",
            [
                "<checkpoint>", "--output", "--type", "--keep", "--vision-type", "--activations",
                "--importance", "--force", "--threads", "--json",
            ]
        ),
        (
            "calibrate",
            [
                "--model", "--compat", "--activations", "--bench", "--split", "--domain",
                "--output",
                "--samples", "--prompt-form", "--image-weight", "--again", "--allow-outside",
                "--threads", "--json",
            ]
        ),
        (
            "round",
            [
                "--model", "--compat", "--activations", "--bench", "--split", "--domain",
                "--output", "--type", "--keep", "--samples", "--leave-out", "--prompt-form",
                "--image-weight", "--damping", "--correction", "--refinements", "--force",
                "--allow-outside",
                "--threads", "--json",
            ]
        ),
        (
            "fidelity",
            [
                "--reference", "--model", "--activations", "--bench", "--split", "--domain",
                "--samples", "--all-rows", "--allow-outside", "--threads", "--json",
            ]
        ),
        ("inspect", ["<path>", "--threads", "--json"]),
        (
            "ask",
            [
                "--model", "--compat", "--language", "--vision", "--image", "<prompt>", "--greedy",
                "--temperature", "--seed", "--max-tokens", "--mask", "--raw-prompt", "--threads",
                "--json",
            ]
        ),
        (
            "trace",
            [
                "--model", "--compat", "--language", "--vision", "--image", "--prompt", "--output",
                "--mask",
                "--sites", "--threads",
            ]
        ),
        (
            "session",
            [
                "--model", "--language", "--vision", "--activations", "--scratch", "--threads",
            ]
        ),
        (
            "explore",
            [
                "--model", "--language", "--vision", "--activations", "--compat", "--study",
                "--set",
                "--bench", "--split", "--allow-outside", "--port", "--threads",
            ]
        ),
        (
            "activation",
            [
                "--model", "--compat", "--bench", "--study", "--domain", "--split",
                "--vision-tokens",
                "--samples", "--again", "--allow-outside", "--blocks", "--positions", "--keep-top",
                "--plan",
                "--shard", "--threads", "--json",
            ]
        ),
        (
            "activations",
            [
                "--model", "--compat", "--language", "--vision", "--activations", "--bench",
                "--split", "--domain", "--shard", "--sites", "--neurons", "--study", "--set",
                "--positions", "--dtype", "--samples", "--file-size", "--output",
                "--allow-outside", "--threads", "--json",
            ]
        ),
        (
            "identify",
            [
                "--study", "--model", "-d", "--module", "--top-rate", "--filter-rate",
                "--activation-bar", "--rule", "--positions", "--set", "--sweep", "--threads",
                "--json",
            ]
        ),
        (
            "report",
            [
                "--study", "--output", "--compare", "--fidelity", "--compare-models", "--judge",
                "--lens",
                "--model", "--image",
                "--prompt", "--top", "--lens-size", "--bench", "--allow-outside", "--gallery-size",
                "--title", "--split", "--set", "--answer-split",
                "--metric", "--baseline", "--draws", "--seed", "--threads", "--json",
            ]
        ),
        (
            "generate",
            [
                "--model", "--compat", "--study", "--domain", "--shard", "--bench", "--split",
                "--masks",
                "--set", "--samples", "--batch", "--greedy", "--temperature", "--top-k", "--top-p",
                "--seed", "--max-tokens", "--replace", "--plan", "--allow-outside", "--threads",
                "--json",
            ]
        ),
        (
            "evaluate",
            [
                "--study", "--answers", "--domain", "--split", "--metric", "--judge", "--set",
                "--baseline", "--draws", "--seed", "--types", "--json",
            ]
        ),
        (
            "compare",
            [
                "--study", "--model", "--bench", "--split", "--domain", "--set", "--samples",
                "--activations", "--judge", "--all-rows", "--allow-outside", "--threads", "--json",
            ]
        ),
        (
            "logit-lens",
            [
                "--model", "--compat", "--image", "--prompt", "--mask", "--top", "--position",
                "--output",
                "--part", "--all-rows", "--bench", "--shard", "--study", "--split", "--domain",
                "--samples", "--masks", "--set", "--again", "--allow-outside", "--threads",
                "--json",
            ]
        ),
        (
            "deviation",
            [
                "--model", "--compat", "--bench", "--shard", "--study", "--split", "--domain",
                "--samples",
                "--masks", "--set", "--again", "--allow-outside", "--threads", "--json",
            ]
        ),
        ("merge", ["<shard>", "--output", "--partial", "--json"]),
        ("status", ["<study>", "--json"]),
        ("stability", ["--study", "-d", "--module", "--set", "--draws", "--seed", "--json"]),
        (
            "neurons",
            [
                "--study", "--model", "--set", "--domain", "-d", "--module", "--layer", "--neuron",
                "--limit", "--top", "--bench", "--allow-outside", "--split", "--activations",
                "--threads", "--json",
            ]
        ),
        ("demo", ["--assets", "--output", "--models", "--samples", "--threads"]),
        (
            "export",
            [
                "--study", "--output", "--format", "--blocks", "--moments", "--judge", "--threads",
                "--json",
            ]
        ),
        ("import", ["--study", "<paths>", "--threads", "--json"]),
        ("bench", ["--model", "-p", "-n", "--image", "--stages", "--threads", "--json"]),
        (
            "bench-check",
            ["<bench>", "--domain", "--split", "--allow-outside", "--threads", "--json"]
        ),
    ]

    @Test(arguments: options.map(\.command))
    func helpMentionsEveryOption(_ command: String) throws {
        let options = try #require(Self.options.first { $0.command == command }).options
        for arguments in [["help", command], [command, "--help"]] {
            let result = try expectExit(0, arguments)
            #expect(result.errors == "")
            // A default is shown as one would type it.
            #expect(!result.output.contains("MMQModels"), "\(result.output)")
            // Usage lines name the options too; each is to have a line of its own.
            let lines = result.output.split(separator: "\n").map { $0.drop { $0 == " " } }
            for option in options {
                #expect(
                    lines.contains {
                        $0.hasPrefix(option)
                            || $0.split(separator: " ").prefix(2)
                                .contains { $0 == option || $0 == option + "," }
                    }, "mmq \(command) --help does not explain \(option)")
            }
        }
    }

    @Test func everyCommandIsListedAndTested() throws {
        let help = try expectExit(0, ["--help"]).output
        let lines = help.split(separator: "\n").drop { $0 != "SUBCOMMANDS:" }.dropFirst()
        let listed = lines.compactMap { line -> String? in
            guard line.hasPrefix("  "), !line.hasPrefix("   ") else { return nil }
            return line.split(separator: " ").first.map(String.init)
        }.filter { !$0.hasPrefix("See") && $0 != "(default)" }
        // Whoever adds a command says here what it takes.
        #expect(Set(Self.options.map(\.command)) == Set(listed))
    }

    @Test(arguments: [
        (["frobnicate"], "frobnicate"),
        (["convert"], "<checkpoint>"),
        (["convert", "x"], "--output"),
        (["convert", "x", "--output", "y", "--type", "q3_0"], "q3_0"),
        (["convert", "x", "--output", "y", "--type", "q4_k_xl"], "q4_k_xl"),
        (["convert", "x", "--output", "y", "--threads", "0"], "--threads"),
        (["convert", "x", "--output", "y", "--threads", "1000000000"], "--threads"),
        (["inspect"], "<path>"),
        (["inspect", "x", "y"], "y"),
        (["ask", "--model", "m", "--image", "i"], "<prompt>"),
        (["ask", "--model", "m", "hello"], "--image"),
        (["ask", "--image", "i", "hello", "--language", "l"], "--vision"),
        (
            ["ask", "--model", "m", "--language", "l", "--vision", "v", "--image", "i", "p"],
            "either"
        ),
        (["ask", "--model", "m", "--image", "i", "p", "--threads", "0"], "--threads"),
        (["ask", "--model", "m", "--image", "i", "p", "--threads", "two"], "two"),
        (["ask", "--model", "m", "--image", "i", "p", "--temperature", "-1"], "--temperature"),
        (["ask", "--model", "m", "--image", "i", "p", "--temperature", "nan"], "--temperature"),
        (["ask", "--model", "m", "--image", "i", "p", "--top-k", "3"], "--temperature"),
        (
            ["ask", "--model", "m", "--image", "i", "p", "--temperature", "1", "--top-p", "0"],
            "--top-p"
        ),
        (["ask", "--model", "m", "--image", "i", "p", "--max-tokens", "0"], "--max-tokens"),
        (["ask", "--model", "m", "--image", "i", "p", "--seed", "-1"], "--seed"),
        (
            [
                "trace", "--model", "m", "--image", "i", "--prompt", "p", "--output", "o",
                "--sites", "ids,teeth",
            ], "teeth"
        ),
        (["activation", "--model", "m", "--bench", "b", "--study", "s", "--domain", "sea"], "sea"),
        (
            ["activation", "--model", "m", "--bench", "b", "--study", "s", "--samples", "0"],
            "samples"
        ),
        (
            [
                "activation", "--model", "m", "--bench", "b", "--study", "s", "--samples", "1",
                "--vision-tokens", "1",
            ], "either"
        ),
        (
            ["activation", "--model", "m", "--bench", "b", "--study", "s", "--keep-top", "65"],
            "--keep-top"
        ),
        (["identify", "--study", "s", "--top-rate", "1.5"], "between 0 and 1"),
        (["neurons", "--study", "s", "--limit", "-1"], "--limit"),
        (["neurons", "--study", "s", "--top", "0"], "--top"),
        (["export", "--study", "s"], "--output"),
        (["import", "--study", "s"], "<paths>"),
        (["identify", "--study", ""], "name"),
        (["bench"], "--model"),
    ])
    func wrongUsage(_ arguments: [String], _ word: String) throws {
        try expectRefusal(arguments, naming: [word])
    }

    @Test func versionIsThePythonPackages() throws {
        let file = Golden.repository + "/python/src/mmq/VERSION"
        let version = try String(contentsOfFile: file, encoding: .utf8)
        #expect(version.contains("."))
        #expect(try expectExit(0, ["--version"]).output == version)
    }

    @Test func threadsAreTakenByEveryCommandThatComputes() throws {
        for (command, options) in Self.options where options.contains("--threads") {
            // What is missing is told first, with the usage; where that is long, without options.
            let needed = ["--study=s", "--bench=b", "--output=o", "--reference=r", "--model=m"]
                .filter { options.contains(String($0.prefix { $0 != "=" })) }
            for wrong in ["0", "-3", "257", "many", "99999999999999999999"] {
                let result = try expectExit(2, [command, "--threads=" + wrong] + needed)
                #expect(result.errors.contains("--threads"), "\(command): \(result.errors)")
            }
        }
    }

    @Test func unknownInstructionSets() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        for name in [
            "sse9", "AVX2", " scalar", "avx2,avx512vnni", String(repeating: "x", count: 9999),
        ] {
            for arguments in [
                ["convert", GoldenModel.llava.checkpoint, "--output", folder("other")],
                ["inspect", model], GoldenModel.llava.trace(model, to: folder("trace")),
                ["ask", "--model", model, "--image", GoldenModel.llava.picture(), "Why?"],
                ["bench", "--model", model, "-p", "8", "-n", "1"],
            ] {
                let result = try expectRefusal(
                    arguments, naming: ["MMQ_ISA"], environment: ["MMQ_ISA": name])
                #expect(!result.errors.contains("Fatal"))
            }
        }
        #expect(try folder.entries() == ["model"])
        try expectExit(0, ["inspect", model], environment: ["MMQ_ISA": ""])
    }

    @Test func resultsGoToStdoutAndTheRestToStderr() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let convert = try expectExit(
            0, ["convert", golden.checkpoint, "--output", folder("model"), "--json"])
        let report = try convert.object()
        #expect(report["architecture"] as? String == "llava_next")
        #expect(report["language"] as? String == folder("model/language-q4_0.gguf"))
        #expect(report["vision"] as? String == folder("model/vision-q8_0.gguf"))

        let plain = try expectExit(
            0, ["convert", golden.checkpoint, "--output", folder("plain"), "--type", "f16"])
        #expect(
            plain.output == folder("plain/language-f16.gguf") + "\n"
                + folder("plain/vision-q8_0.gguf") + "\n")

        for path in [
            folder("model"), golden.checkpoint, folder("model/language-q4_0.gguf"),
            golden.checkpoint + "/model.safetensors",
        ] {
            let result = try expectExit(0, ["inspect", path, "--json"])
            #expect(result.errors == "")
            let files = try #require(result.object()["files"] as? [Any])
            #expect(!files.isEmpty)
            #expect(try expectExit(0, ["inspect", path]).output.contains("tensors"))
        }

        let question = [
            "ask", "--model", folder("model"), "--image", golden.picture(), "--max-tokens", "5",
            "What is it?",
        ]
        let answer = try expectExit(0, question + ["--json"]).object()
        let tokens = try #require(answer["tokens"] as? [Int])
        #expect((1...5).contains(tokens.count))
        #expect(answer["prompt_tokens"] as? Int ?? 0 > (answer["image_tokens"] as? Int ?? 0))
        #expect(answer["timings"] is [String: Any])
        let streamed = try expectExit(0, question)
        let text = try #require(answer["text"] as? String)
        #expect(streamed.output == text + "\n")
        #expect(streamed.errors == "")

        let trace = try expectExit(0, golden.trace(folder("model"), to: folder("trace")))
        #expect(trace.output == "")
        #expect(trace.errors.contains(folder("trace")))
    }

    @Test func seedsDecideSampledAnswers() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.blip.convert(in: folder)
        func tokens(_ more: String...) throws -> [Int] {
            let arguments = [
                "ask", "--model", model, "--image", GoldenModel.blip.picture(), "--max-tokens",
                "12", "--json", "Why?",
            ]
            return try #require(expectExit(0, arguments + more).object()["tokens"] as? [Int])
        }
        let first = try tokens("--temperature", "1.5", "--seed", "1")
        #expect(try tokens("--temperature", "1.5", "--seed", "1") == first)
        #expect(try tokens("--temperature", "1.5", "--seed", "2") != first)
        #expect(try tokens("--temperature", "1.5", "--top-k", "1") == tokens("--greedy"))
        #expect(try tokens() == tokens("--greedy"))
    }

    @Test func threadsAndTwoFilesInPlaceOfAFolder() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let arguments = GoldenModel.llava.trace(model, to: folder("a"), sites: "last-logits")
        try expectExit(0, arguments + ["--threads", "2"])
        var two = GoldenModel.llava.trace(model, to: folder("b"), sites: "last-logits")
        two.replaceSubrange(
            1..<3,
            with: [
                "--language", model + "/language-f16.gguf", "--vision", model + "/vision-f16.gguf",
            ]
        )
        try expectExit(0, two)
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: folder("a")))
                == Data(contentsOf: URL(fileURLWithPath: folder("b"))))
        try expectRefusal(
            ["ask", "--image", GoldenModel.llava.picture(), "Why?"], naming: ["--model"])
    }

    /// Rules may be given one by one.
    @Test func keepsEveryPart() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let once = try golden.convert(
            in: folder, type: "q4_0", name: "once", more: ["--keep", "gate=q8_0,down=q8_0"])
        let twice = try golden.convert(
            in: folder, type: "q4_0", name: "twice",
            more: ["--keep", "gate=q8_0", "--keep", "down=q8_0"])
        let name = "/language-q4_0-mix.gguf"
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: once + name))
                == Data(contentsOf: URL(fileURLWithPath: twice + name)))
        try expectRefusal(
            [
                "convert", golden.checkpoint, "--output", folder("two"), "--keep", "gate=q8_0",
                "--keep", "gate=q6_k",
            ], naming: ["--keep", "gate=q6_k"])
    }

    /// What a judge has no use for is refused, not passed over.
    @Test func aJudgeTakesNoImportance() throws {
        let folder = try TemporaryFolder()
        let judge = try Golden.path("lingo-judge/plain/checkpoint")
        for more in [
            ["--importance", folder("importance.gguf")], ["--keep", "gate=q8_0"],
            ["--vision-type", "f16"], ["--activations", "int16"],
        ] {
            try expectRefusal(
                ["convert", judge, "--output", folder("judge")] + more, naming: ["judge"])
        }
        #expect(try folder.entries().isEmpty)
    }
}
