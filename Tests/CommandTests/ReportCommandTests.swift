import Foundation
import MMQFormats
import Support
import Testing

/// `mmq report` through the binary.
@Suite struct ReportCommandTests {
    /// A study of a converted golden model.
    private func study(
        _ golden: GoldenModel, in folder: TemporaryFolder, type: String = "f16",
        name: String = "study"
    ) throws -> (model: String, study: String) {
        let model = try golden.convert(in: folder, type: type, name: name + "-model")
        let path = folder(name)
        let common = ["--model", model, "--bench", goldenBench, "--study", path]
        let domains = ["--domain", "rs,com"]
        try expectExit(0, ["activation"] + common + domains + ["--samples", "4"])
        try expectExit(0, ["identify", "--study", path, "--top-rate", "0.1"])
        try expectExit(0, ["identify", "--study", path, "--sweep", "top-rate=0.3"])
        try expectExit(
            0,
            ["generate"] + common + domains
                + [
                    "--masks", "matrix-lang,random-lang*2,top-rate=0.3/lang", "--samples", "2",
                    "--greedy",
                    "--max-tokens", "4",
                ])
        try expectExit(0, ["logit-lens"] + common + domains + ["--samples", "2"])
        try expectExit(0, ["deviation"] + common + domains + ["--samples", "1"])
        return (model, path)
    }

    @Test(arguments: [GoldenModel.llava, .blip])
    func wholeReport(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let (model, path) = try study(golden, in: folder)
        let (small, other) = try study(golden, in: folder, type: "q4_0", name: "other")
        let sides = try expectExit(
            0,
            [
                "compare", "--model", model, "--model", small, "--bench", goldenBench, "--domain",
                "rs,com", "--samples", "2", "--json",
            ])
        try Data(sides.output.utf8).write(to: URL(fileURLWithPath: folder("sides.json")))
        let formats = try expectExit(
            0,
            [
                "fidelity", "--reference", model, "--model", small, "--bench", goldenBench,
                "--domain", "rs,com", "--samples", "2", "--max-tokens", "3", "--json",
            ])
        try Data(formats.output.utf8).write(to: URL(fileURLWithPath: folder("formats.json")))
        let look = ["--image", golden.picture(), "--prompt", golden.prompt]
        try expectExit(
            0, ["logit-lens", "--model", model, "--output", folder("lens.json")] + look)
        let arguments = [
            "report", "--study", path, "--output", folder("r.html"), "--compare", other, "--lens",
            folder("lens.json"), "--compare-models", folder("sides.json"), "--fidelity",
            folder("formats.json"), "--model", model, "--bench", goldenBench, "--draws", "200",
            "--seed", "3",
        ]
        let result = try expectExit(0, arguments + look)
        #expect(result.output == folder("r.html") + "\n")
        #expect(result.errors == "")
        let page = try String(contentsOfFile: folder("r.html"), encoding: .utf8)
        #expect(page.hasPrefix("<!DOCTYPE html>"))
        #expect(page.hasSuffix("</html>\n"))
        #expect(page.components(separatedBy: "<article class=\"lens\"").count == 3)
        #expect(page.contains("src=\"data:image/png;base64,"))
        #expect(!page.contains("class=\"missing\""), "a section found nothing to show")
        #expect(!(try folder.entries().contains { $0.hasSuffix(".partial") }))

        #expect(page.contains("Number formats next to <bdi>\(model)</bdi>"))
        let cells = try #require(
            (JSONSerialization.jsonObject(with: Data(formats.output.utf8)) as? [String: Any])?[
                "models"] as? [[String: Any]])
        for score in try #require(cells.first?["scores"] as? [[String: Any]]) {
            #expect(
                try page.contains("<td class=\"w\">\(#require(score["metric"] as? String))</td>"))
        }

        // What it shows is what the other commands print.
        let document = try expectExit(0, arguments + look + ["--json"]).object()
        let evaluated = try expectExit(
            0, ["evaluate", "--study", path, "--draws", "200", "--seed", "3", "--json"]
        ).object()
        let scores = try #require(document["scores"] as? [String: Any])
        // Numbered controls are shown together.
        let single = try #require(evaluated["scores"] as? [[String: Any]])
            .filter { ($0["setting"] as? String)?.contains("#") == false }
        #expect(
            try NSArray(array: #require(scores["scores"] as? [Any])) == NSArray(array: single))
        for claims in ["matrices", "controls"] {
            let shown = try #require(scores[claims] as? [Any])
            #expect(!shown.isEmpty)
            #expect(
                try NSArray(array: shown) == NSArray(array: #require(evaluated[claims] as? [Any])))
        }
        // Stability: the same halves, fewer points of the curve.
        let stable = try #require(
            expectExit(0, ["stability", "--study", path, "--json"]).json() as? [[String: Any]])
        let shown = try #require(document["stability"] as? [[String: Any]])
            .filter { $0["positions"] as? String == "all" }
        #expect(shown.count == stable.count)
        for (shown, whole) in zip(shown, stable) {
            let found = try #require(shown["found"] as? [String: Any])
            let entries = try [found, whole].map { entry in
                try #require(entry["domains"] as? [[String: Any]]).map { $0["halves"] ?? "" }
            }
            #expect(NSArray(array: entries[0]) == NSArray(array: entries[1]))
            let curve = try #require(whole["curve"] as? [[String: Any]])
            for point in try #require(found["curve"] as? [[String: Any]]) {
                #expect(
                    curve.contains {
                        NSDictionary(dictionary: $0) == NSDictionary(dictionary: point)
                    })
            }
        }
        let sweep = try #require((document["sweeps"] as? [[String: Any]])?.first)
        #expect(sweep["rate"] as? String == "top-rate")
        let effects = try #require(sweep["effects"] as? [[String: Any]])
        for effect in effects {
            let changes = try #require(effect["changes"] as? [Any])
            for (setting, change) in zip(["lang", "top-rate=0.3/lang"], changes) {
                let score = try #require(
                    single.first { score in
                        score["setting"] as? String == setting
                            && ["domain", "form"].allSatisfy {
                                score[$0] as? String == effect[$0] as? String
                            }
                    })
                #expect(
                    try NSDictionary(dictionary: #require(score["change"] as? [String: Any]))
                        == NSDictionary(dictionary: #require(change as? [String: Any])))
            }
        }
        let compared = try expectExit(
            0, ["compare", "--study", path, "--study", other, "--json"]
        ).object()
        let models = try #require(document["models"] as? [[String: Any]])
        #expect(
            try NSArray(array: #require(models[0]["entries"] as? [Any]))
                == NSArray(array: #require(sides.json() as? [Any])))
        #expect(page.contains("Neurons that fire alike"))
        let comparisons = try #require(document["comparisons"] as? [[String: Any]])
        #expect(
            try NSDictionary(dictionary: #require(comparisons[0]["comparison"] as? [String: Any]))
                == NSDictionary(dictionary: compared))
        let identified = try #require(
            expectExit(0, ["identify", "--study", path, "--top-rate", "0.1", "--json"])
                .json() as? [[String: Any]])
        let modules = try #require(document["modules"] as? [[String: Any]])
        #expect(modules.count == identified.count)
        for (shown, found) in zip(modules, identified) {
            let neurons = try #require(found["neurons"] as? [String: [[Int]]])
            let domains = try #require(shown["domains"] as? [String])
            let counts = try #require(shown["counts"] as? [[Int]])
            for (domain, layers) in zip(domains, counts) {
                #expect(neurons[domain]?.map(\.count) == layers)
            }
        }
    }

    /// Cards of the gallery are those of `neurons`.
    @Test(arguments: [GoldenModel.llava, .blip])
    func gallery(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder, type: "q4_0")
        let path = folder("study")
        try expectExit(
            0,
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", path, "--domain",
                "rs,com", "--samples", "4", "--keep-top", "3",
            ])
        try expectExit(0, ["identify", "--study", path, "--top-rate", "0.1"])
        let given = ["--study", path, "--model", model, "--bench", goldenBench]
        let report = ["report", "--output", folder("r.html")] + given
        let document = try expectExit(0, report + ["--json"]).object()
        let gallery = try #require(document["gallery"] as? [String: Any])
        let neurons = try #require(gallery["neurons"] as? [[String: Any]])
        #expect(neurons.count > 4)
        for neuron in neurons {
            let card = try #require(neuron["card"] as? [String: Any])
            let module = try #require(card["module"] as? String)
            let layer = try #require(card["layer"] as? Int)
            let number = try #require(card["neuron"] as? Int)
            let single = try expectExit(
                0,
                ["neurons", "-d", module, "--layer", "\(layer)", "--neuron", "\(number)", "--json"]
                    + ["--top", "8"] + given
            ).object()
            #expect(
                try NSDictionary(dictionary: card)
                    == NSDictionary(dictionary: #require(single["card"] as? [String: Any])))
            for words in ["raised", "lowered"] {
                #expect(
                    (neuron[words] as? [Any]).map { NSArray(array: $0) }
                        == (single[words] as? [Any]).map { NSArray(array: $0) })
            }
            let domain = try #require(neuron["domain"] as? String)
            let placed = try #require(single["moments"] as? [[String: Any]])
                .filter { $0["domain"] as? String == domain }
            let moments = try #require(neuron["moments"] as? [[String: Any]])
            #expect(moments.count == placed.count && moments.count == 3)
            for (moment, same) in zip(moments, placed) {
                let own = try #require(moment["moment"] as? [String: Any])
                for key in ["sample", "token", "value"] {
                    #expect(own[key] as? Double == same[key] as? Double)
                }
                #expect(moment["question"] as? String == same["question"] as? String)
                #expect(
                    (moment["place"] as? [String: Any]).map { NSDictionary(dictionary: $0) }
                        == (same["place"] as? [String: Any]).map { NSDictionary(dictionary: $0) })
            }
        }
        func page(_ more: [String]) throws -> String {
            try expectExit(0, report + more)
            return try String(contentsOfFile: folder("r.html"), encoding: .utf8)
        }
        let whole = try page([])
        let small = try page(["--gallery-size", "0.1"])
        #expect(whole.utf8.count - small.utf8.count > 50_000)
        #expect(small.contains("more neurons are left out"))
        #expect(try page(["--gallery-size", "0"]).contains("--gallery-size 0"))
        let elsewhere = try expectExit(
            0, ["report", "--output", folder("e.html"), "--study", path, "--bench", folder("none")])
        #expect(elsewhere.errors.contains(folder("none")))
        #expect(
            try String(contentsOfFile: folder("e.html"), encoding: .utf8).contains(folder("none")))
    }

    @Test func theBinaryAloneIsEnough() throws {
        let folder = try TemporaryFolder()
        let (_, path) = try study(.llava, in: folder)
        // A copy in another place: nothing beside it is needed.
        let result = try Command.shell(
            "cp \"$1\" \"\(folder("elsewhere"))\" && cd / && \"\(folder("elsewhere"))\" "
                + "report --study \"\(path)\" --output \"\(folder("r.html"))\"", [])
        #expect(result.code == 0, "\(result.errors)")
        let page = try String(contentsOfFile: folder("r.html"), encoding: .utf8)
        #expect(page.contains("<style>") && page.contains("class Lens"))
    }

    @Test func whatIsNotRightIsRefused() throws {
        let folder = try TemporaryFolder()
        let (model, path) = try study(.llava, in: folder)
        let report = ["report", "--study", path, "--output", folder("r.html")]
        let image = GoldenModel.llava.picture()
        // Numbers that no comparison gives.
        let common = ["--bench", goldenBench, "--domain", "rs", "--samples", "1", "--json"]
        func spoiled(_ name: String, _ words: [String], _ change: (String) -> String) throws {
            let result = try expectExit(0, words + common)
            let text = change(result.output)
            #expect(text != result.output)
            _ = try folder.write(name, Array(text.utf8))
        }
        try spoiled(
            "alike.json", ["fidelity", "--reference", model, "--model", model, "--max-tokens", "0"]
        ) {
            $0.replacing(/"alike" : \d+/) { _ in "\"alike\" : 9" }
                .replacing(/"pairs" : \d+/) { _ in "\"pairs\" : 1" }
        }
        try spoiled("sides.json", ["compare", "--model", model, "--model", model]) {
            $0.replacing(/"agreeing" : \d+/) { _ in "\"agreeing\" : 3" }
                .replacing(/"positions" : \d+/) { _ in "\"positions\" : 2" }
        }
        for (arguments, words) in [
            (["report", "--study", folder("none"), "--output", folder("r.html")], ["none"]),
            (report + ["--image", image, "--prompt", "<image>"], ["--model"]),
            (report + ["--model", model, "--prompt", "<image>"], ["--image"]),
            (report + ["--model", model, "--image", image], ["--prompt"]),
            (
                report + ["--model", model, "--image", image, "--prompt", "no place for it"],
                ["<image>"]
            ),
            (report + ["--model", model, "--image", path, "--prompt", "<image>"], [path]),
            (report + ["--lens", path], [path]),
            (report + ["--compare", folder("gone")], ["gone"]),
            (report + ["--compare-models", image], [image]),
            (report + ["--fidelity", image], [image]),
            (
                report + ["--fidelity", folder("alike.json")],
                [folder("alike.json"), "alike", "9 of 1"]
            ),
            (
                report + ["--compare-models", folder("sides.json")],
                [folder("sides.json"), "agreeing", "3 of 2"]
            ),
            (report + ["--compare", image], [image]),
            (report + ["--top", "0"], ["--top"]),
            (report + ["--lens-size", "-1"], ["--lens-size"]),
            (report + ["--gallery-size", "-1"], ["--gallery-size"]),
            (report + ["--gallery-size", "1e9"], ["--gallery-size"]),
            (report + ["--metric", "best"], ["best"]),
        ] as [([String], [String])] {
            try expectRefusal(arguments, naming: words)
        }
        #expect(!FileManager.default.fileExists(atPath: folder("r.html")))
        // An earlier report stays when a new one cannot be made.
        try expectExit(0, report)
        let before = try Data(contentsOf: URL(fileURLWithPath: folder("r.html")))
        try expectRefusal(report + ["--lens", path], naming: [path])
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder("r.html"))) == before)
        // A folder that is not there: the work fails.
        let failed = try expectExit(
            1, ["report", "--study", path, "--output", folder("no/where.html")])
        #expect(failed.errors.contains("no/where.html"))
    }

    /// What the page has between two of its tags, as a reader sees it.
    private func shown(_ page: String, from start: String, to end: String) -> [String] {
        page.components(separatedBy: start).dropFirst().compactMap {
            $0.components(separatedBy: end).first?
                .replacing("&lt;", with: "<").replacing("&gt;", with: ">")
                .replacing("&#39;", with: "'").replacing("&quot;", with: "\"")
                .replacing("&amp;", with: "&")
        }
    }

    private func page(of study: String, in folder: TemporaryFolder) throws -> String {
        try expectExit(0, ["report", "--study", study, "--output", folder("r.html")])
        return try String(contentsOfFile: folder("r.html"), encoding: .utf8)
    }

    @Test func howToRedoIt() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let path = folder("it's a.sqlite")
        let given =
            ["--model", model, "--bench", goldenBench, "--study", path]
            + ["--activations", "int16", "--compat", "4.41"]
        let rates = ["--top-rate", "0.2", "--filter-rate", "0.5", "--activation-bar", "0.4"]
        let runs: [[String]] = [
            ["activation"] + given + ["--domain", "rs,com", "--samples", "4", "--keep-top", "4"],
            ["identify", "--study", path] + rates,
            ["identify", "--study", path, "-d", "lang", "--set", "words"]
                + ["--rule", "difference", "--positions", "text"] + rates,
            ["generate"] + given
                + [
                    "--domain", "rs", "--masks", "lang", "--samples", "1", "--max-tokens", "8",
                    "--seed", "3", "--greedy",
                ],
            ["logit-lens"] + given
                + ["--domain", "rs,com", "--masks", "none", "--samples", "2"],
            ["deviation"] + given + ["--domain", "rs", "--masks", "lang", "--samples", "2"],
        ]
        for run in runs { try expectExit(0, run) }
        let page = try page(of: path, in: folder)
        // What was typed, but for the folders.
        let expected = runs.map { run in
            run.map {
                [model: "DIR", goldenBench: "DIR", path: "'it'\\''s a.sqlite'"][$0] ?? $0
            }.joined(separator: " ")
        }
        let lines = shown(page, from: "<pre tabindex=\"0\"><code>", to: "</code></pre>")
        #expect(lines == [expected.map { "mmq " + $0 }.joined(separator: "\n")])
        #expect(page.contains("types are shown with <code>--model DIR</code>"))
    }

    /// What a study was begun with and is not the usual is said too.
    @Test(arguments: [
        [], ["--activations", "int16"], ["--compat", "4.41"],
        ["--activations", "int16", "--compat", "4.41"],
    ])
    func howToOpenTheModel(_ opening: [String]) throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q8_0")
        let counted = ["--domain", "rs", "--samples", "1"]
        try expectExit(
            0,
            ["activation", "--model", model, "--bench", goldenBench, "--study", folder("study")]
                + opening + counted)
        let lines = shown(
            try page(of: folder("study"), in: folder), from: "<pre tabindex=\"0\"><code>",
            to: "</code></pre>")
        let words =
            ["mmq activation --model DIR --bench DIR --study study"] + opening + counted
        #expect(lines == [words.joined(separator: " ")])
    }

    @Test func emptySectionsSayWhatFillsThem() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let path = folder("study")
        let given = ["--model", model, "--bench", goldenBench, "--study", path]
        try expectExit(0, ["activation"] + given + ["--domain", "rs", "--samples", "1"])
        let common = "--model DIR --bench DIR --study study"
        let report = "mmq report --study study --output FILE.html"
        let one = shown(try page(of: path, in: folder), from: "<code>", to: "</code>")
        for command in [
            "mmq activation \(common)", "mmq identify --study study", "mmq generate \(common)",
            "mmq logit-lens \(common)", "mmq deviation \(common)",
            "mmq identify --study study --sweep top-rate=0.003,0.01,0.03,0.1",
            "\(report) --model DIR --image FILE --prompt TEXT", "\(report) --compare OTHER_STUDY",
        ] {
            #expect(one.contains(command), "\(command)")
        }
        // One module of three is not looked into.
        try expectExit(0, ["activation"] + given + ["--domain", "com", "--samples", "1"])
        try expectExit(0, ["identify", "--study", path, "-d", "lang", "-d", "vision"])
        let two = shown(try page(of: path, in: folder), from: "<code>", to: "</code>")
        #expect(two.contains("mmq identify --study study -d mmproj"))
    }
}
