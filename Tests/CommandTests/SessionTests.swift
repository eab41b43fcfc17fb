import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

/// `mmq session`, request by request.
@Suite struct SessionTests {
    /// A model, and a session's scratch folder beside it.
    private struct Place {
        let golden: GoldenModel
        let folder: TemporaryFolder
        let model: String
        let scratch: String

        init(_ golden: GoldenModel) throws {
            self.golden = golden
            folder = try TemporaryFolder()
            model = try golden.convert(in: folder)
            scratch = folder("scratch")
            try makeFolder(scratch)
        }

        func start() throws -> SessionProcess {
            let session = try SessionProcess(model, scratch: scratch)
            let ready = try session.expect("ready")
            #expect(ready["protocol"]?.integer == 1)
            return session
        }

        func request(_ id: Int, _ more: String = "", prompt: String? = nil) -> String {
            "{\"op\": \"run\", \"id\": \(id), \"image\": \(jsonString(golden.picture())), "
                + "\"prompt\": \(jsonString(prompt ?? "Why?"))\(more)}"
        }
    }

    private func tokens(_ event: JSONValue) -> [Int] {
        event["tokens"]?.array?.compactMap(\.integer) ?? []
    }

    @Test(arguments: [GoldenModel.llava, .blip])
    func answersAreThoseOfAskAndOfTransformers(_ golden: GoldenModel) throws {
        let place = try Place(golden)
        let session = try place.start()
        let cases = try Golden.json(golden.name + "/cases.json")
        let item = try #require(cases["cases"]?.array?.first)
        let picture = try golden.picture(#require(item["name"]?.text))
        for (mask, key) in [
            ("", "greedy"), (", \"mask\": \(jsonString(golden.mask))", "greedy_masked"),
            (", \"mask\": \(try JSONValue(file: golden.mask).jsonLine)", "greedy_masked"),
        ] {
            try session.send(
                "{\"op\": \"run\", \"id\": 1, \"image\": \(jsonString(picture)), \"raw\": true, "
                    + "\"max_tokens\": 24, \"prompt\": "
                    + "\(jsonString(try #require(item["prompt"]?.text)))\(mask)}")
            let done = try session.expect("done", id: 1)
            let want = try #require(item[key]?["tokens"]?.array).compactMap(\.integer)
            #expect(tokens(done) == want, "\(key)")
        }

        // With the model's own template, streamed, and sampled by the same seed.
        for (options, arguments) in [
            ("", []),
            (", \"temperature\": 1.5, \"seed\": 7", ["--temperature", "1.5", "--seed", "7"]),
        ] as [(String, [String])] {
            try session.send(
                place.request(2, ", \"max_tokens\": 9, \"stream\": true" + options))
            var text = ""
            var streamed: [Int] = []
            var event = try session.anyEvent()
            while event["event"]?.text == "token" {
                text += event["text"]?.text ?? ""
                streamed.append(event["token"]?.integer ?? -1)
                event = try session.anyEvent()
            }
            #expect(event["event"]?.text == "done")
            #expect(event["text"]?.text == text)
            #expect(tokens(event) == streamed)
            let asked = try expectExit(
                0,
                [
                    "ask", "--model", place.model, "--image", golden.picture(), "Why?",
                    "--max-tokens", "9", "--json",
                ] + arguments
            ).object()
            #expect(asked["tokens"] as? [Int] == streamed)
            #expect(asked["text"] as? String == text)
        }
        session.closeInput()
        _ = try session.expect("ended")
        #expect(try session.end() == 0)
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    /// Values add up to the counts that transformers made, and to those of `trace`, to the bit.
    @Test(arguments: [GoldenModel.llava, .blip], ["", "masked."])
    func valuesAreThoseThatAreCounted(_ golden: GoldenModel, _ kind: String) throws {
        let place = try Place(golden)
        let cases = try Golden.json(golden.name + "/cases.json")
        let item = try #require(cases["cases"]?.array?.first)
        let prompt = try #require(item["prompt"]?.text)
        let picture = try golden.picture(#require(item["name"]?.text))
        let mask = kind.isEmpty ? [] : ["--mask", golden.mask]
        try expectExit(
            0,
            golden.trace(place.model, to: place.folder("t"), prompt: prompt, picture: picture)
                + mask)
        let trace = try SafetensorsFile(path: place.folder("t"))
        let expected = try Golden.tensors(
            golden.name + "/" + #require(item["expected"]?.text))

        let session = try place.start()
        let request =
            "\"op\": \"run\", \"image\": \(jsonString(picture)), \"raw\": true, \"max_tokens\": 0, "
            + "\"prompt\": \(jsonString(prompt)), \"sites\": [\"mlp\"]"
            + (mask.last.map { ", \"mask\": \(jsonString($0))" } ?? "")
        try session.send("{\"id\": 1, \(request)}")
        let done = try session.expect("done", id: 1)
        #expect(tokens(done) == [])
        try session.send("{\"id\": 2, \"dtype\": \"f16\", \(request)}")
        let halves = try session.expect("done", id: 2)
        let sites = try #require(done["sites"]?.array)
        #expect(
            done["prompt_ids"]?.array?.compactMap(\.integer)
                == (try trace.integers("input_ids")).map { Int($0) })
        for (site, half) in zip(sites, try #require(halves["sites"]?.array)) {
            let name = try #require(site["site"]?.text)
            let module = try #require(site["module"]?.text)
            let layer = try #require(site["layer"]?.integer)
            let values = try SafetensorsFile(path: #require(site["file"]?.text)).floats(name)
            let shape = try #require(site["shape"]?.array).compactMap(\.integer)
            #expect(shape[0] == Int(try expected.integers(kind + module + "_len")[0]))
            #expect(values.count == shape[0] * shape[1])
            var counts = [Int64](repeating: 0, count: shape[1])
            var sums = [Double](repeating: 0, count: shape[1])
            for row in 0..<shape[0] {
                for neuron in 0..<shape[1] {
                    let value = values[row * shape[1] + neuron]
                    counts[neuron] += value > 0 ? 1 : 0
                    sums[neuron] += Double(value)
                }
            }
            let part = layer * shape[1]..<(layer + 1) * shape[1]
            #expect(counts == Array(try trace.integers(module + "_log")[part]), "\(name)")
            #expect(sums == Array(try trace.doubles(module + "_value")[part]), "\(name)")
            #expect(
                counts == Array(try expected.integers(kind + module + "_log")[part]), "\(name)")
            // As the ladder of goldens has it.
            assertClose(
                sums, Array(try expected.doubles(kind + module + "_value")[part]),
                tolerance: 2e-3, name)
            #expect(half["dtype"]?.text == "F16")
            let rounded = try SafetensorsFile(path: #require(half["file"]?.text)).floats(name)
            #expect(
                zip(values, rounded).allSatisfy {
                    abs($0 - $1) <= max(abs($0) * 0x1p-11, 0x1p-25)
                }, "\(name)")
        }
        let shapes = try #require(cases["cases"]?.array?.first)["tokens"]?.integer
        #expect(done["prompt_tokens"]?.integer == shapes)
        try session.send("{\"op\": \"end\"}")
        _ = try session.expect("ended")
        #expect(try session.end() == 0)
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    /// An answer's tokens add rows, and taking values changes no token.
    @Test func answersAddRows() throws {
        let place = try Place(.llava)
        let session = try place.start()
        try session.send(place.request(1, ", \"max_tokens\": 6"))
        let plain = try session.expect("done")
        try session.send(
            place.request(2, ", \"max_tokens\": 6, \"sites\": [\"mlp:lang.1\", \"mlp:mmproj\"]"))
        let done = try session.expect("done")
        #expect(tokens(done) == tokens(plain))
        let sites = try #require(done["sites"]?.array)
        #expect(sites.map { $0["site"]?.text } == ["mlp:lang.1", "mlp:mmproj.0"])
        #expect(
            sites[0]["shape"]?.array?.first?.integer
                == (done["prompt_tokens"]?.integer ?? 0) + tokens(done).count - 1)
    }

    /// The lens is the command's, number by number, and changes no token of the answer.
    @Test(arguments: [GoldenModel.llava, .blip])
    func lensIsThatOfLogitLens(_ golden: GoldenModel) throws {
        let place = try Place(golden)
        let session = try place.start()
        let request = "\"raw\": true, \"max_tokens\": 4"
        try session.send(place.request(1, ", \(request)", prompt: golden.prompt))
        let plain = try session.expect("done", id: 1)
        for (asked, arguments) in [
            ("\"lens\": {}", []),
            (
                "\"lens\": {\"top\": 3, \"part\": \"mlp\", \"all_rows\": true}",
                ["--top", "3", "--part", "mlp", "--all-rows"]
            ),
            (
                "\"lens\": {\"part\": \"attention\"}, \"mask\": \(jsonString(golden.mask))",
                ["--part", "attention", "--mask", golden.mask]
            ),
        ] as [(String, [String])] {
            let output = place.folder("lens.json")
            try expectExit(
                0,
                [
                    "logit-lens", "--model", place.model, "--image", golden.picture(), "--prompt",
                    golden.prompt, "--output", output,
                ] + arguments)
            let want = try JSONValue(file: output)
            try session.send(
                place.request(2, ", \(request), \(asked)", prompt: golden.prompt))
            let done = try session.expect("done", id: 2)
            if !asked.contains("mask") { #expect(tokens(done) == tokens(plain)) }
            let lens = try #require(done["lens"])
            for key in ["part", "layers", "positions", "top", "words"] {
                #expect(lens[key] == want[key], "\(asked): \(key)")
            }
            #expect(done["prompt_ids"] == want["input_ids"])
            let file = try SafetensorsFile(path: #require(lens["file"]?.text))
            #expect(
                try file.integers("top_ids")
                    == numbers(want["top_ids"]).map { Int64($0) }, "\(asked)")
            for key in ["top_probabilities", "entropies", "divergences"] {
                #expect(
                    try file.floats(key) == numbers(want[key]).map { Float($0) },
                    "\(asked): \(key)")
            }
        }
        try session.send("{\"op\": \"end\"}")
        _ = try session.expect("ended")
        #expect(try session.end() == 0)
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    /// The numbers of nested lists, in their order.
    private func numbers(_ value: JSONValue?) -> [Double] {
        guard let list = value?.array else { return [value?.double ?? .nan] }
        return list.flatMap { numbers($0) }
    }

    @Test func requestsWaitAndCanBeCancelled() throws {
        let place = try Place(.blip)
        let session = try place.start()
        // Enough of work that the second line is read while the first is under way.
        try session.send(
            place.request(1, ", \"max_tokens\": 100000, \"stream\": true, \"temperature\": 9"))
        _ = try session.expect("token", id: 1)
        try session.send(place.request(2, ", \"max_tokens\": 1"))
        try session.send(place.request(3, ", \"max_tokens\": 1"))
        try session.send(place.request(2))
        try session.send("{\"op\": \"info\"}")
        try session.send("{\"op\": \"cancel\", \"id\": 2}")
        try session.send("{\"op\": \"cancel\", \"id\": 77}")
        // Lines that are no requests but name those that are.
        try session.send(place.request(1, ", \"teeth\": 3"))
        try session.send(place.request(3, ", \"max_tokens\": -1"))
        try session.send("{\"op\": \"fly\", \"id\": 1}")
        try session.send("{\"op\": \"cancel\", \"id\": 1, \"teeth\": 3}")
        try session.send("{\"op\": \"cancel\", \"id\": 1}")
        var seen: [String] = []
        while !seen.contains("done 3") {
            let event = try session.anyEvent()
            let name = try #require(event["event"]?.text)
            if name == "token" { continue }
            if name == "info", event["running"]?.integer == 1 {
                #expect(event["waiting"]?.array?.compactMap(\.integer) == [2, 3])
            }
            // One with a name would be the end of that request.
            if name == "error" { #expect(event["id"] == nil) }
            seen.append(name + " " + (event["id"]?.kind ?? event["op"]?.text ?? ""))
        }
        #expect(seen.contains("info "))
        #expect(
            seen.filter { !$0.hasPrefix("info") }.sorted() == [
                "cancelled 1", "cancelled 2", "done 3", "error ", "error ", "error ",
                "error cancel", "error cancel", "error fly",
            ])
    }

    @Test func badRequestsAreErrorsAndTheSessionGoesOn() throws {
        let place = try Place(.llava)
        let session = try place.start()
        let long = String(repeating: "x", count: (64 << 20) + 10)
        let cases: [(line: String, words: [String])] = [
            ("no JSON", ["request"]), ("[1, 2]", ["object", "a list of 2"]),
            ("{\"op\": \"fly\"}", ["'fly'", "run, cancel, info or end"]),
            ("{\"id\": 1}", ["'op'", "missing"]),
            ("{\"op\": \"run\", \"id\": 1}", ["'image'", "missing"]),
            (place.request(1, ", \"teeth\": 3"), ["'teeth'"]),
            (place.request(1, ", \"max_tokens\": -1"), ["max_tokens", "-1"]),
            (place.request(1, ", \"max_tokens\": \"many\""), ["max_tokens"]),
            (place.request(1, ", \"temperature\": -1"), ["temperature"]),
            (place.request(1, ", \"top_k\": 3"), ["temperature"]),
            (place.request(1, ", \"dtype\": \"f8\""), ["dtype", "'f8'"]),
            (place.request(1, ", \"sites\": [\"mlp:lang.99\"]"), ["lang", "mlp:lang.99"]),
            (place.request(1, ", \"sites\": [\"mlp:teeth\"]"), ["mmproj", "mlp:teeth"]),
            (place.request(1, ", \"sites\": [\"hidden\"]"), ["mlp:MODULE", "hidden"]),
            (
                place.request(1, ", \"mask\": {\"teeth\": [[1]]}"),
                ["teeth", "lang, vision, mmproj"]
            ),
            (place.request(1, ", \"mask\": {\"lang\": [[1]]}"), ["3 layers"]),
            (place.request(1, ", \"mask\": {\"lang\": [[96], [], []]}"), ["96"]),
            (place.request(1, ", \"mask\": \"/no/mask.json\""), ["/no/mask.json"]),
            (place.request(1, ", \"mask\": 3"), ["mask"]),
            (place.request(1, ", \"lens\": true"), ["'lens'", "an object"]),
            (place.request(1, ", \"lens\": {\"op\": 3}"), ["'lens'", "top, part", "'op'"]),
            (place.request(1, ", \"lens\": {\"top\": 0}"), ["'lens.top'", "from 1 to 1000"]),
            (
                place.request(1, ", \"lens\": {\"part\": \"teeth\"}"),
                ["'lens.part'", "block, attention or mlp", "'teeth'"]
            ),
            (
                "{\"op\": \"run\", \"id\": 1, \"image\": \"/no/picture\", \"prompt\": \"a\"}",
                ["/no/picture", "no such file"]
            ),
            (
                "{\"op\": \"run\", \"id\": 1, \"image\": \(jsonString(place.golden.mask)), "
                    + "\"prompt\": \"a\"}", ["not a picture"]
            ),
            (place.request(1, ", \"raw\": true"), ["<image> once"]),
            (
                place.request(1, prompt: String(repeating: "why ", count: 50_000)), ["context"]
            ),
            ("{\"op\": \"cancel\", \"id\": 9}", ["9"]),
            (long, ["67108864"]),
            ("{\"op\": \"run\", \"id\": {}, \"image\": \"i\", \"prompt\": \"p\"}", ["'id'"]),
        ]
        for (line, words) in cases {
            try session.send(line)
            let error = try session.expect("error")
            let message = error["message"]?.text ?? ""
            for word in words {
                #expect(message.contains(word), "\(line.prefix(200)): \(message)")
            }
        }
        try session.send(place.request(5, ", \"max_tokens\": 2"))
        #expect(tokens(try session.expect("done", id: 5)).count == 2)
        // Nothing is left of what came to nothing.
        let folders = try place.folder.entries(of: "scratch")
        #expect(try place.folder.entries(of: "scratch/" + #require(folders.first)) == [])
    }

    /// The model was opened before the session heard of a study: one of other pictures is refused.
    @Test func studyOfOtherPictures() throws {
        let place = try Place(.llava)
        let study = place.folder("study")
        try expectExit(
            0,
            [
                "activation", "--model", place.model, "--bench", goldenBench, "--study", study,
                "--domain", "rs", "--samples", "1", "--compat", "4.41",
            ])
        let session = try place.start()
        for mask in [
            jsonString(place.golden.mask), try JSONValue(file: place.golden.mask).jsonLine,
        ] {
            let more = ", \"max_tokens\": 0, \"mask\": \(mask)"
            try session.send(place.request(1, more + ", \"study\": \(jsonString(study))"))
            let error = try session.expect("error", id: 1)
            #expect(error["code"]?.text == "mismatch")
            #expect(error["message"]?.text?.contains("--compat") == true)
            try session.send(place.request(2, more))
            _ = try session.expect("done", id: 2)
        }
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
    func signalsRemoveTheFolder(_ number: Int32) throws {
        let place = try Place(.llava)
        let session = try place.start()
        try session.send(place.request(1, ", \"max_tokens\": 1, \"sites\": [\"mlp:lang\"]"))
        let done = try session.expect("done")
        let file = try #require(done["sites"]?.array?.first?["file"]?.text)
        #expect(FileManager.default.fileExists(atPath: file))
        session.signal(number)
        #expect(try session.end() == 128 + number)
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    /// Requests from a file are all answered before the end of it ends the session.
    @Test func aFileOfRequests() throws {
        let place = try Place(.llava)
        let lines = (1...3).map { place.request($0, ", \"max_tokens\": 2") }
        let requests = try place.folder.write(
            "requests", text: lines.joined(separator: "\n\n") + "\n{\"op\": \"nonsense\"}")
        let result = try Command.shell(
            "\"$@\" < '\(requests)'",
            ["session", "--model", place.model, "--scratch", place.scratch])
        #expect(result.code == 0)
        #expect(result.errors == "")
        let events = try result.output.split(separator: "\n").map {
            try JSONValue(parsing: Array($0.utf8), file: "event")
        }
        let done = events.filter { $0["event"]?.text == "done" }
        #expect(done.compactMap { $0["id"]?.integer } == [1, 2, 3])
        #expect(Set(done.map { tokens($0) }).count == 1)
        #expect(events.contains { $0["event"]?.text == "error" })
        #expect(events.last?["event"]?.text == "ended")
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    /// A client that dies leaves no process and no folder, even in the middle of a long answer.
    @Test func aClientThatDiesEndsTheSession() throws {
        let place = try Place(.blip)
        let requests = try place.folder.write(
            "requests", text: place.request(1, ", \"max_tokens\": 100000, \"temperature\": 9"))
        // `head` closes its end after the first event. A session that worked on to the answer's end
        // would find that out only when it writes it, and end with 1.
        let code = place.folder("code")
        let result = try Command.shell(
            "{ \"$@\" < '\(requests)'; echo $? > '\(code)'; } | head -n 1; wait",
            ["session", "--model", place.model, "--scratch", place.scratch])
        #expect(result.output.contains("ready"))
        #expect(try String(contentsOfFile: code, encoding: .utf8) == "0\n")
        for _ in 0..<10_000 {
            if try place.folder.entries(of: "scratch") == [] { break }
            usleep(1000)
        }
        #expect(try place.folder.entries(of: "scratch") == [])
    }

    @Test func whatCannotBeOpenedIsRefused() throws {
        let folder = try TemporaryFolder()
        try expectRefusal(["session", "--model", folder("none")], naming: [folder("none")])
        let model = try GoldenModel.llava.convert(in: folder)
        let result = try expectExit(
            1, ["session", "--model", model, "--scratch", folder("nowhere")])
        #expect(result.errors.contains(folder("nowhere")))
    }
}
