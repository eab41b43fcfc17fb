import Foundation
import MMQBase
import Support
import Testing

/// Studies and benches that must be refused, and disks that are full.
@Suite struct BadStudyTests {
    private func activation(
        _ model: String, _ study: String, bench: String = goldenBench, domain: String = "rs"
    ) -> [String] {
        ["activation", "--model", model, "--bench", bench, "--study", study, "--domain", domain]
    }

    @Test func filesThatAreNoStudy() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let text = try folder.write(
            "text", text: String(repeating: "this is not a database. ", count: 400))
        let short = try folder.write("short", text: "SQLite")
        let tensors = GoldenModel.llava.checkpoint + "/model.safetensors"
        let original = try Data(contentsOf: URL(fileURLWithPath: text))
        for study in [text, short, folder("model"), tensors, folder("nowhere/study")] {
            for arguments in [
                activation(model, study), ["identify", "--study", study],
                ["export", "--study", study, "--output", folder("out")],
                ["import", "--study", study, folder.path],
            ] {
                try expectRefusal(arguments, naming: [study])
            }
        }
        for command in [["identify"], ["export", "--output", folder("out")]] {
            try expectRefusal(
                command + ["--study", folder("none.sqlite")], naming: ["none.sqlite"])
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: text)) == original)
        #expect(try folder.entries().filter { !$0.hasPrefix(".") } == ["model", "short", "text"])
    }

    @Test func anotherModelsStudy() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let other = try GoldenModel.llava.convert(in: folder, type: "q4_0", name: "other")
        let blip = try GoldenModel.blip.convert(in: folder, name: "blip")
        try expectExit(0, activation(model, folder("study")) + ["--samples", "2"])
        for wrong in [other, blip] {
            try expectRefusal(
                activation(wrong, folder("study")), naming: [folder("study"), "model"])
            try expectRefusal(
                ["identify", "--study", folder("study"), "--model", wrong], naming: ["model"])
        }
        try expectRefusal(
            ["identify", "--study", folder("study"), "-d", "qformer"], naming: ["qformer"])
        try expectRefusal(activation(model, folder("study")) + ["--samples", "1"], naming: ["rs"])
        // One domain alone cannot be told from others.
        try expectRefusal(["identify", "--study", folder("study")], naming: [folder("study")])
    }

    /// A study is one of a model and of what it rounds activations to; whoever goes on with it need
    /// not say the latter again.
    @Test func otherActivations() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q8_0")
        let study = folder("study")
        let begin = activation(model, study) + ["--samples", "2"]
        try expectExit(0, begin + ["--activations", "int16"])
        try expectExit(0, activation(model, study) + ["--samples", "3"])
        try expectRefusal(begin + ["--activations", "int8"], naming: [study, "+int16"])
        try expectRefusal(
            ["identify", "--study", study, "--model", model, "--activations", "int8"],
            naming: [study, "+int16"])
        try expectExit(2, begin + ["--activations", "int4"])
        // What convert leaves holds where nothing else is said.
        let wide = try GoldenModel.llava.convert(
            in: folder, type: "q8_0", name: "wide", more: ["--activations", "int16"])
        try expectExit(0, activation(wide, study) + ["--samples", "4"])
    }

    /// Nor are counts mixed that follow the slips of June 2024 with others; the study remembers.
    @Test func otherCompatibility() throws {
        let folder = try TemporaryFolder()
        for golden in [GoldenModel.llava, .blip, .llava15] {
            let model = try golden.convert(in: folder, name: golden.architecture)
            let study = folder(golden.architecture + ".sqlite")
            let begin = activation(model, study) + ["--samples", "2"]
            try expectExit(0, begin + ["--compat", "4.41"])
            try expectExit(0, activation(model, study) + ["--samples", "3"])
            try expectRefusal(begin + ["--compat", "5"], naming: [study, "+4.41"])
            try expectRefusal(
                ["identify", "--study", study, "--model", model, "--compat", "5"],
                naming: [study, "+4.41"])
            let today = folder(golden.architecture + "-5.sqlite")
            try expectExit(0, activation(model, today) + ["--samples", "2"])
            try expectRefusal(
                activation(model, today) + ["--compat", "4.41"], naming: [today, "+4.41"])
            try expectExit(2, begin + ["--compat", "4.42"])
        }
    }

    /// Nor is a mask taken from a study whose pictures were others: who takes one opens the model as
    /// the study did.
    @Test func masksOfAStudyWithCompatibility() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        let study = folder("study")
        try expectExit(0, activation(model, study) + ["--samples", "2", "--compat", "4.41"])
        let picture = try Golden.path("compat/images/60x200.png")
        let pass = ["--model", model, "--image", picture, "--mask", golden.mask]
        let output = ["--prompt", golden.prompt, "--output", folder("output")]
        for command in [
            ["trace"] + pass + output, ["logit-lens"] + pass + output,
            ["ask"] + pass + ["--json", "--greedy", "--max-tokens", "1", "Why?"],
        ] {
            func result(_ more: [String]) throws -> [String] {
                let printed = try expectExit(0, command + more).output
                if command[0] == "ask" {
                    let answer = try JSONValue(parsing: Array(printed.utf8), file: "answer")
                    let tokens = try #require(answer["image_tokens"]?.integer)
                    return ["\(tokens)"]
                }
                let file = try Data(contentsOf: URL(fileURLWithPath: folder("output")))
                try FileManager.default.removeItem(atPath: folder("output"))
                return [printed, file.base64EncodedString()]
            }
            let june = try result(["--compat", "4.41"])
            #expect(try result(["--study", study]) == june, "\(command[0])")
            #expect(try result(["--study", study, "--compat", "4.41"]) == june, "\(command[0])")
            #expect(try result([]) != june, "\(command[0])")
            try expectRefusal(
                command + ["--study", study, "--compat", "5"], naming: [study, "--compat", "4.41"])
        }
    }

    @Test func damagedStudies() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        try expectExit(0, activation(model, folder("study"), domain: "rs,com"))
        let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: folder("study"))))
        var random = SeededRandom(seed: 31)
        for round in 0..<16 {
            var bytes = whole
            if round % 4 == 0 {
                bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random))
            } else {
                for _ in 0..<8 { bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 0x41 }
            }
            let damaged = try folder.write("damaged", bytes)
            for arguments in [
                ["identify", "--study", damaged],
                ["export", "--study", damaged, "--output", folder("out")],
            ] {
                let result = try Command.run(arguments)
                #expect((0...2).contains(result.code), "\(result.code) \(result.errors)")
                #expect(result.code == 0 || result.errors.contains(damaged), "\(result.errors)")
            }
            for suffix in ["", "-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: damaged + suffix)
            }
        }
    }

    @Test func benchesThatAreBroken() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let bench = folder("bench")
        let questions = "\(bench)/rs/USGS_split_train_questions.json"
        for (text, words) in [
            ("{", ["questions.json"]), ("[]", ["questions.json"]),
            (#"{"questions": [{"id": 1}]}"#, ["questions.json"]), ("", ["questions.json"]),
        ] {
            try? FileManager.default.removeItem(atPath: bench)
            try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
            try Data(text.utf8).write(to: URL(fileURLWithPath: questions))
            try expectRefusal(activation(model, folder("study"), bench: bench), naming: words)
            #expect(try folder.entries() == ["bench", "model"])
        }
        try expectRefusal(
            activation(model, folder("study"), bench: folder("none")), naming: ["none"])
        try expectRefusal(activation(model, folder("study"), domain: "med"), naming: ["med"])
        #expect(try folder.entries() == ["bench", "model"])

        // A picture that is none: what was counted before it stays.
        try? FileManager.default.removeItem(atPath: bench)
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        let picture = "\(bench)/rs/Data/5.png"
        try Data("no picture".utf8).write(to: URL(fileURLWithPath: picture))
        try expectRefusal(activation(model, folder("study"), bench: bench), naming: [picture])
        try FileManager.default.removeItem(atPath: picture)
        try FileManager.default.copyItem(atPath: goldenBench + "/rs/Data/5.png", toPath: picture)
        try expectExit(0, activation(model, folder("study"), bench: bench))
        try expectExit(0, activation(model, folder("whole")))
        for study in ["study", "whole"] {
            try expectExit(
                0,
                [
                    "export", "--study", folder(study), "--output", folder("out-" + study),
                    "--name", "m",
                ])
        }
        let file = "m/activation/rs.safetensors"
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: folder("out-study/" + file)))
                == Data(contentsOf: URL(fileURLWithPath: folder("out-whole/" + file))))
    }

    @Test func importsThatAreBroken() throws {
        let folder = try TemporaryFolder()
        let tensors = GoldenModel.llava.checkpoint + "/model.safetensors"
        try FileManager.default.createDirectory(
            atPath: folder("m/activation"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: tensors, toPath: folder("m/activation/rs.safetensors"))
        for path in [folder("m"), folder("m/activation/rs.safetensors"), folder("none"), tensors] {
            let result = try expectExit(2, ["import", "--study", folder("study"), path])
            #expect(result.output == "")
            #expect(result.errors.contains(path))
        }
        #expect(try folder.entries().filter { !$0.hasPrefix(".") } == ["m"])
    }

    /// Files may grow to some kilobytes only, as if the disk were full.
    @Test func fullDisk() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        try expectExit(0, activation(model, folder("study"), domain: "rs,com"))
        let before = try folder.entries()
        for (blocks, arguments, name) in [
            (40, ["convert", golden.checkpoint, "--output", folder("new")], "new"),
            (
                200, ["convert", golden.checkpoint, "--output", folder("new"), "--type", "f16"],
                "new"
            ),
            (4, golden.trace(model, to: folder("new")), "new"),
            (4, activation(model, folder("new")), "new"),
        ] {
            // In blocks of 512 bytes; some shells count in 1024.
            let result = try Command.shell("ulimit -f \(blocks); exec \"$@\"", arguments)
            #expect(result.code == 1, "\(arguments[0]): \(result.code) \(result.errors)")
            #expect(result.errors.contains(folder(name)), "\(result.errors)")
            let left = try folder.entries().filter { !before.contains($0) }
            if arguments[0] == "activation" {
                // A study is made whole or not at all; what is there can be gone on with.
                try expectExit(0, activation(model, folder("new")))
                for file in try folder.entries() where !before.contains(file) {
                    try FileManager.default.removeItem(atPath: folder(file))
                }
            } else {
                #expect(left == [], "\(arguments[0])")
            }
        }
    }

    @Test(
        .enabled(
            if: FileManager.default.fileExists(atPath: "/dev/full"),
            "NOT RUN: /dev/full, a device that is always full, is missing"))
    func resultsThatCannotBeWritten() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let ask = ["ask", "--model", model, "--image", GoldenModel.llava.picture(), "Why?"]
        for arguments in [
            ["inspect", model], ["inspect", model, "--json"], ask, ask + ["--json"],
            [
                "logit-lens", "--model", model, "--image", GoldenModel.llava.picture(),
                "--prompt", "<image>Why?", "--json",
            ],
        ] {
            for script in ["exec \"$@\" > /dev/full", "exec \"$@\" >&-"] {
                let result = try Command.shell(script, arguments)
                #expect(result.code == 1, "\(arguments[0]) \(script): \(result.errors)")
                #expect(result.errors.contains("results"))
            }
            let untold = try Command.shell("exec \"$@\" 2> /dev/full", arguments)
            #expect(untold.code == 0, "\(arguments): \(untold.code), \(untold.output.suffix(500))")
        }
        #expect(try Command.shell("exec \"$@\" 2> /dev/full", ["inspect", "none"]).code == 2)
        #expect(try Command.shell("exec \"$@\" 2>&-", ["inspect", "none"]).code == 2)
    }
}
