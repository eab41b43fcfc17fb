import Foundation
import Support
import Testing

/// `mmq activations`, through the binary.
@Suite(.serialized) struct ActivationsCommandTests {
    private func contents(_ path: String) throws -> [String: Data] {
        try FileManager.default.subpathsOfDirectory(atPath: path).reduce(into: [:]) {
            var isFolder: ObjCBool = false
            let file = path + "/" + $1
            if FileManager.default.fileExists(atPath: file, isDirectory: &isFolder),
                !isFolder.boolValue
            {
                $0[$1] = try Data(contentsOf: URL(fileURLWithPath: file))
            }
        }
    }

    private func activations(_ model: String, _ output: String, _ more: [String]) -> [String] {
        [
            "activations", "--model", model, "--bench", goldenBench, "--domain", "rs,com",
            "--output", output,
        ] + more
    }

    @Test func writesWhatIsAskedFor() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let told = try expectExit(
            0,
            activations(
                model, folder("one"),
                ["--sites", "mlp:lang.1, mlp:mmproj", "--samples", "2", "--positions", "image"]))
        #expect(told.output.hasPrefix("rs: 2 samples, rows: "))
        #expect(
            try folder.entries(of: "one/rs") == [
                "lang-00000.csv", "lang.1-00000.safetensors", "mmproj-00000.csv",
                "mmproj.0-00000.safetensors", "progress.json",
            ])
        try expectExit(0, ["inspect", folder("one/rs/lang.1-00000.safetensors")])
        // Two layers have no neurons.
        try folder.write("neurons.json", text: #"{"lang": [[], [5, 3], []]}"#)
        let some = try expectExit(
            0,
            activations(
                model, folder("two"),
                [
                    "--neurons", folder("neurons.json"), "--samples", "1", "--json",
                    "--file-size", "64kB", "--dtype", "f16",
                ]))
        let documents = try #require(try some.json() as? [[String: Any]])
        #expect(documents.map { $0["domain"] as? String } == ["rs", "com"])
        #expect((documents[0]["rows"] as? [String: Int])?.keys.sorted() == ["lang"])
        #expect(try folder.entries(of: "two/rs").filter { $0.hasPrefix("lang.") }.count == 1)
        let noted = try expectExit(
            0,
            activations(
                model, folder("three"),
                ["--sites", "mlp:lang.1,mlp:vision.0", "--samples", "1", "--positions", "last"]))
        #expect(noted.errors.contains("mlp:vision.0"))
        let part = try expectExit(
            0,
            activations(
                model, folder("part"),
                ["--sites", "mlp:lang.1", "--samples", "2", "--shard", "2/2"]))
        #expect(part.output.hasPrefix("rs: 2 samples, those of shard 2/2, rows: "))
    }

    @Test func neuronsOfAStudy() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let study = folder("study")
        try expectExit(
            0,
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", study,
                "--domain", "rs,com", "--samples", "6",
            ])
        let words = [
            "--study", study, "--set", "wide", "--samples", "1", "--sites", "mlp:lang",
        ]
        try expectRefusal(activations(model, folder("none"), words), naming: [study, "wide"])
        #expect(!FileManager.default.fileExists(atPath: folder("none")))
        try expectExit(
            0,
            [
                "identify", "--study", study, "--model", model, "--set", "wide", "--top-rate", ".1",
                "--filter-rate", ".5", "--activation-bar", ".5",
            ])
        try expectExit(0, activations(model, folder("output"), words))
        let begun = try #require(try contents(folder("output"))["activations.json"])
        let manifest = try #require(
            JSONSerialization.jsonObject(with: begun) as? [String: Any])
        let sites = try #require(manifest["sites"] as? [[String: Any]])
        #expect(!sites.isEmpty)
        for site in sites {
            let neurons = try #require(site["neurons"] as? [Int])
            #expect(neurons.count == site["columns"] as? Int && neurons == neurons.sorted())
        }
        // Other neurons of the same name.
        try expectExit(
            0,
            [
                "identify", "--study", study, "--model", model, "--set", "wide", "--top-rate", ".3",
                "--filter-rate", ".5", "--activation-bar", ".5",
            ])
        try expectRefusal(
            activations(model, folder("output"), words),
            naming: [folder("output"), "--sites, --neurons or --set"])
    }

    @Test func refusesWrongUsage() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let output = folder("output")
        for wrong in [
            [], ["--sites", "mlp", "--samples", "0"], ["--sites", "mlp", "--file-size", "0"],
            ["--sites", "mlp", "--file-size", "many"], ["--sites", "mlp", "--dtype", "bf16"],
            ["--sites", "mlp", "--positions", "first"], ["--sites", "mlp", "--set", "wide"],
            ["--sites", "mlp", "--shard", "3/2"],
            ["--neurons", "a.json", "--study", "b"], ["--sites", "hidden"],
            ["--sites", "mlp:lang.9"], ["--sites", "mlp:vision", "--positions", "text"],
            ["--neurons", folder("nowhere.json")],
        ] {
            let result = try Command.run(activations(model, output, wrong))
            #expect(result.code == 2, "\(wrong): \(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: output), "\(wrong)")
        }
        try expectExit(0, activations(model, output, ["--sites", "mlp:lang", "--samples", "2"]))
        let before = try contents(output)
        try expectRefusal(
            activations(
                model, output, ["--sites", "mlp:lang", "--samples", "2", "--dtype", "f16"]),
            naming: [output, "--dtype", "f32", "f16"])
        let other = try GoldenModel.llava.convert(in: folder, type: "q8_0", name: "other")
        try expectRefusal(
            activations(other, output, ["--sites", "mlp:lang", "--samples", "3"]),
            naming: [output, "model"])
        #expect(try contents(output) == before)
        // As on a full disk: no half file, and a run that goes on.
        let limited = try Command.shell(
            "ulimit -f 40; exec \"$@\"",
            activations(model, folder("full"), ["--sites", "mlp", "--samples", "4"]))
        #expect(limited.code == 1, "\(limited.errors)")
        try expectExit(
            0, activations(model, folder("full"), ["--sites", "mlp", "--samples", "4"]))
        try expectExit(
            0, activations(model, folder("roomy"), ["--sites", "mlp", "--samples", "4"]))
        #expect(try contents(folder("full")) == contents(folder("roomy")))
    }

    /// Killed anywhere, run again: the same files, and nothing under its name that is not whole.
    @Test func survivesKills() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let words = ["--sites", "mlp", "--samples", "12", "--file-size", "64kB"]
        let clock = ContinuousClock()
        let start = clock.now
        try expectExit(0, activations(model, folder("whole"), words))
        let seconds = Double((clock.now - start) / .milliseconds(1)) / 1000
        let whole = try contents(folder("whole"))
        var random = SeededRandom(seed: 22)
        var killed = 0
        for round in 0..<3 {
            let output = folder("output\(round)")
            for attempt in 0..<8 {
                let reach = attempt < 3 ? 0.06 : seconds
                let result = try Command.run(
                    activations(model, output, words),
                    killAfter: Double(random.uniform()) * reach)
                for (name, data) in FileManager.default.fileExists(atPath: output)
                    ? try contents(output) : [:]
                where !name.hasSuffix(".partial") && !name.hasSuffix("progress.json") {
                    #expect(data == whole[name], "\(name)")
                }
                if result.code == 0 { break }
                #expect(result.code == -SIGKILL, "\(result.errors)")
                killed += 1
            }
            try expectExit(0, activations(model, output, words))
            #expect(try contents(output) == whole, "round \(round)")
        }
        #expect(killed >= 6)
    }
}
