import Foundation
import MMQFormats
import Support
import Testing

/// `mmq neurons`: what it says of a neuron is what the other commands wrote.
@Suite struct NeuronsCommandTests {
    private let folder: TemporaryFolder
    private let model: String
    private let study: String
    private let golden = GoldenModel.llava

    init() throws {
        folder = try TemporaryFolder()
        model = try golden.convert(in: folder, type: "q4_0", visionType: "q8_0")
        study = folder("study")
        try expectExit(
            0,
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", study,
                "--domain", "rs,com", "--samples", "5", "--keep-top", "3",
            ])
        try expectExit(
            0,
            [
                "identify", "--study", study, "--top-rate", ".2", "--filter-rate", ".5",
                "--activation-bar", ".5",
            ])
        try expectExit(
            0, ["export", "--study", study, "--output", folder("out"), "--name", "m"])
    }

    private func exported(_ kind: String, _ domain: String) throws -> SafetensorsFile {
        try SafetensorsFile(path: folder("out/m/\(kind)/\(domain).safetensors"))
    }

    @Test func cardsSayWhatWasCounted() throws {
        for (module, layer, neuron) in [("lang", 1, 40), ("vision", 0, 7), ("mmproj", 0, 63)] {
            let arguments = [
                "neurons", "--study", study, "-d", module, "--layer", String(layer), "--neuron",
                String(neuron),
            ]
            let document = try expectExit(
                0, arguments + ["--model", model, "--bench", goldenBench, "--json"]
            ).object()
            let card = try #require(document["card"] as? [String: Any])
            let domains = try #require(card["domains"] as? [[String: Any]])
            #expect(domains.map { $0["domain"] as? String } == ["rs", "com"])
            for entry in domains {
                let domain = try #require(entry["domain"] as? String)
                let counts = try exported("activation", domain)
                let shape = try counts.tensor(module + "_log").shape
                let place = layer * shape[1] + neuron
                let tokens = try counts.integers(module + "_len")[0]
                #expect(entry["tokens"] as? Int64 == tokens)
                let fired = Double(try counts.integers(module + "_log")[place])
                // JSON's numbers are read to the last bit or the one before.
                let probability = try #require(entry["probability"] as? Double)
                #expect(abs(probability - fired / Double(tokens)) <= 1e-12)
                let sum = try counts.doubles(module + "_value")[place]
                #expect(abs(try #require(entry["mean"] as? Double) - sum / Double(tokens)) <= 1e-12)
                let kept = try exported("moments", domain)
                let moments = try #require(entry["moments"] as? [[String: Any]])
                let range = place * 3..<place * 3 + 3
                #expect(
                    moments.map { $0["sample"] as? Int64 }
                        == (try kept.integers(module + "_sample")[range].map { $0 }))
                #expect(
                    moments.map { $0["token"] as? Int64 }
                        == (try kept.integers(module + "_token")[range].map { $0 }))
                for (moment, value) in zip(moments, try kept.floats(module + "_top")[range]) {
                    let found = try #require(moment["value"] as? Double)
                    #expect(Float(found) == value)
                }
                let histogram = try #require(entry["histogram"] as? [Int64])
                #expect(histogram.count == 13 && histogram.reduce(0, +) == tokens)
                #expect(histogram.allSatisfy { $0 >= 0 })
                #expect(Double(histogram[2...].reduce(0, +)) == fired)
            }
            // What tokens are: only the decoder has words, towers have tiles.
            let placed = try #require(document["moments"] as? [[String: Any]])
            #expect(placed.count == 6)
            for moment in placed {
                let place = try #require(moment["place"] as? [String: Any])
                #expect((moment["question"] as? String)?.isEmpty == false)
                #expect(module == "lang" ? place["tile"] == nil : place["word"] == nil)
            }
            let isDecoder = module == "lang"
            #expect((document["raised"] as? [Any])?.count == (isDecoder ? 10 : nil))
            #expect((document["lowered"] as? [Any])?.count == (isDecoder ? 10 : nil))
            let text = try expectExit(0, arguments).output
            for word in [module, "neuron \(neuron)", "strongest", "tokens by activation", "com"] {
                #expect(text.contains(word), "\(word)")
            }
        }
    }

    @Test func listsAreTheSets() throws {
        let lists = try #require(
            try expectExit(0, ["neurons", "--study", study, "--limit", "0", "--json"]).json()
                as? [[String: Any]])
        #expect(lists.compactMap { $0["module"] as? String } == ["lang", "vision", "mmproj"])
        for list in lists {
            let module = try #require(list["module"] as? String)
            let file = try #require(
                try JSONSerialization.jsonObject(
                    with: Data(
                        contentsOf: URL(fileURLWithPath: folder("out/m/mask/\(module).json"))))
                    as? [String: Any])
            let sets = try #require(file["neurons"] as? [String: [[Int]]])
            let expected = Set(
                sets.values.flatMap { layers in
                    layers.enumerated().flatMap { layer, neurons in neurons.map { [layer, $0] } }
                })
            let cards = try #require(list["cards"] as? [[String: Any]]).compactMap {
                $0["card"] as? [String: Any]
            }
            let found = try cards.map {
                [try #require($0["layer"] as? Int), try #require($0["neuron"] as? Int)]
            }
            #expect(Set(found) == expected && found.count == expected.count)
            #expect(list["neurons"] as? Int == expected.count)
            // By rank.
            let ranks = try cards.map { try #require($0["rank"] as? Int) }
            #expect(ranks == ranks.sorted() && Set(ranks).count == ranks.count)
        }
        let few = try expectExit(
            0,
            [
                "neurons", "--study", study, "-d", "lang", "--domain", "rs", "--limit", "2",
                "--model", model,
            ]
        ).output
        #expect(few.contains("the first 2") && few.contains("writes"))
    }

    @Test func activationsAreThoseOfATrace() throws {
        try expectExit(
            0,
            [
                "trace", "--model", model, "--image", golden.picture(), "--prompt", "<image>\nWhy?",
                "--sites", "mlp:lang.2", "--output", folder("t"),
            ])
        let arguments = [
            "neurons", "--study", study, "-d", "lang", "--layer", "2", "--neuron", "5",
            "--activations",
        ]
        let document = try expectExit(0, arguments + [folder("t"), "--json"]).object()
        let file = try SafetensorsFile(path: folder("t"))
        let width = try file.tensor("mlp:lang.2").shape[1]
        let values = try file.floats("mlp:lang.2")
        let expected = stride(from: 5, to: values.count, by: width).map { values[$0] }
        let found = try #require(document["activations"] as? [Double]).map { Float($0) }
        #expect(found == expected && found.count > 10)
        // Another layer is not in it; another file is none.
        var other = arguments
        other[6] = "1"
        let error = try expectExit(2, other + [folder("t")]).errors
        #expect(error.contains("mlp:lang.1"))
        try expectExit(2, arguments + [study])
    }

    @Test func whatIsNotThereIsAnError() throws {
        let start = ["neurons", "--study", study]
        for (options, word) in [
            (["-d", "lang", "--layer", "3", "--neuron", "0"], "layer"),
            (["-d", "lang", "--layer", "0", "--neuron", "96"], "neuron"),
            (["-d", "lang", "--layer", "-1"], "layer"), (["--neuron", "3"], "--layer"),
            (["--layer", "1"], "--module"), (["-d", "nothing"], "nothing"),
            (["--set", "other"], "other"),
            (["-d", "lang", "--layer", "0", "--neuron", "1", "--bench", goldenBench], "--model"),
            (["-d", "lang", "--layer", "0", "--neuron", "1", "--split", "val"], "val"),
        ] {
            let result = try expectExit(2, start + options)
            #expect(result.errors.contains(word), "\(options): \(result.errors)")
            #expect(result.output.isEmpty)
        }
        let elsewhere = try TemporaryFolder()
        let blip = try GoldenModel.blip.convert(in: elsewhere, type: "q4_0", visionType: "q8_0")
        try expectExit(2, start + ["-d", "lang", "--model", blip])
    }
}
