import Foundation
import MMQBase
import Support
import Testing

/// Texts of a bench, a vocabulary, a study, and names of files that a terminal would obey: no command
/// prints one as it is, on stdout or stderr.
@Suite struct HostileTextTests {
    /// Titles, colours, C1, a direction, a line separator, markup, a line end.
    private static let hostile = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\u{2028}<b>&\"c\u{85}\nd"

    private let folder: TemporaryFolder
    private let model: String
    private let bench: String
    private let study: String

    init() throws {
        folder = try TemporaryFolder()
        model = folder("model\u{1b}[31m")
        bench = folder("bench\u{9b}31m\u{202e}")
        study = folder("study\u{1b}[2J\nx")
        let checkpoint = try CheckpointCopy(.llava)
        // Pieces of one sign, of which no merge is made.
        var vocabulary = String(decoding: try checkpoint.data("tokenizer.json"), as: UTF8.self)
        for (piece, sign) in [
            ("x", "001b"), ("z", "009b"), ("Q", "202e"), ("Y", "2028"), ("!", "0007"),
            ("L", "2066"),
        ] {
            let key = "\"\(piece)\":"
            try #require(vocabulary.contains(key))
            vocabulary = vocabulary.replacing(key, with: "\"\\u\(sign)\":")
        }
        try checkpoint.write("tokenizer.json", Data(vocabulary.utf8))
        try checkpoint.remove("tokenizer.model")
        try expectTame(["convert", checkpoint.path, "--output", model, "--type", "f16"])
        try makeFolder(bench)
        try FileManager.default.copyItem(atPath: goldenBench + "/rs", toPath: bench + "/rs")
        for split in ["train", "val"] {
            try edit("questions", split, ["question", "type"])
            try edit("answers", split, ["answer"])
        }
        // A missing picture is told by its path.
        for number in 0..<6 {
            try FileManager.default.removeItem(atPath: "\(bench)/rs/Data/\(number).png")
        }
    }

    private func edit(_ name: String, _ split: String, _ keys: [String]) throws {
        let file = URL(fileURLWithPath: "\(bench)/rs/USGS_split_\(split)_\(name).json")
        var document = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let list = try #require(document[name] as? [[String: Any]])
        document[name] = list.map { entry in
            entry.merging(keys.map { ($0, Self.hostile) }) { $1 }
        }
        try JSONSerialization.data(withJSONObject: document).write(to: file)
    }

    /// Runs a command, which must end so, and looks at all that it says.
    @discardableResult
    private func expectTame(
        _ arguments: [String], code: Int32 = 0, input: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> CommandResult {
        let result =
            if let input {
                try Command.shell("\"$@\" < '\(input)'", arguments)
            } else {
                try Command.run(arguments)
            }
        #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
        for text in [result.output, result.errors] {
            let unruly = text.unicodeScalars.first { $0.isUnruly && $0 != "\n" && $0 != "\t" }
            #expect(
                unruly == nil, "\(arguments[0]): \(text.debugDescription)",
                sourceLocation: sourceLocation)
        }
        return result
    }

    @Test func nothingIsObeyed() throws {
        let common = ["--model", model, "--bench", bench, "--domain", "rs"]
        let escaped = #"a\u001b]0;x\u0007\u009b31m\u202eb\u2028<b>"#
        for form in [[], ["--json"]] {
            try expectTame(["bench-check", bench, "--domain", "rs"] + form)
            try expectTame(["inspect", model] + form)
        }
        let counted = try expectTame(
            ["activation"] + common + ["--study", study, "--samples", "3"])
        #expect(counted.errors.contains(#"missing picture: "# + folder("bench")))
        try expectTame(
            [
                "activation", "--model", model, "--bench", goldenBench, "--domain", "com",
                "--study", study, "--samples", "3",
            ])
        try expectTame(["identify", "--study", study, "--top-rate", ".2"])
        for form in [[], ["--json"]] {
            let status = try expectTame(["status", study] + form)
            // A line end stays in its cell.
            if form.isEmpty { #expect(status.output.contains(#"study\u001b[2J\u000ax"#)) }
            try expectTame(["neurons", "--study", study, "--limit", "3", "--model", model] + form)
            let card = try expectTame(
                [
                    "neurons", "--study", study, "-d", "lang", "--layer", "0", "--neuron", "3",
                    "--model", model, "--top", "400",
                ] + (form.isEmpty ? [] : ["--bench", bench]) + form,
                // The bench holds one of the two domains.
                code: form.isEmpty ? 0 : 2)
            if form.isEmpty { #expect(card.output.contains(#"\u001b"#)) }
        }
        try expectTame(
            ["generate"] + common + ["--study", study, "--samples", "3", "--max-tokens", "3"])
        for form in [["--types"], ["--json"]] {
            let found = try expectTame(["evaluate", "--study", study, "--domain", "rs"] + form)
            #expect(found.output.contains(escaped))
            // And in its line.
            #expect(
                found.output.contains(#"\u0085\u000ad"#) == (form == ["--types"]), "\(found.output)"
            )
        }
        try expectTame(["compare", "--study", study, "--study", study, "--domain", "rs"])
        try expectTame(["logit-lens"] + common + ["--study", study, "--samples", "2"])
        try expectTame(["deviation"] + common + ["--study", study, "--samples", "2"])
        try expectTame(
            ["activations"] + common
                + ["--sites", "mlp:lang.0", "--samples", "2", "--output", folder("arrays\u{9b}")])
        try expectTame(["export", "--study", study, "--output", folder("out\u{1b}[m")])
        try expectTame(["report", "--study", study, "--output", folder("report\u{1b}[m.html")])
        let page = try String(contentsOfFile: folder("report\u{1b}[m.html"), encoding: .utf8)
        #expect(page.contains("&lt;b") && !page.contains("<b>&"))
    }

    @Test func neitherByASessionNorByALens() throws {
        let golden = GoldenModel.llava
        for form in [[], ["--json"]] {
            try expectTame(
                [
                    "logit-lens", "--model", model, "--image", golden.picture(), "--prompt",
                    "<image>\n" + Self.hostile, "--top", "50",
                ] + form)
        }
        try expectTame(
            [
                "ask", "--model", model, "--image", golden.picture(), "--max-tokens", "5",
                Self.hostile,
            ])
        let requests = [
            "{\"op\":\"run\",\"id\":\(jsonString(Self.hostile)),\"image\":\(jsonString(golden.picture())),"
                + "\"prompt\":\(jsonString(Self.hostile)),\"max_tokens\":3,\"stream\":true}",
            "{\"op\":\(jsonString(Self.hostile))}",
            "{\"op\":\"run\",\"id\":1,\"image\":\(jsonString(Self.hostile)),\"prompt\":\"p\"}",
        ]
        let input = folder("requests")
        try requests.joined(separator: "\n").write(
            toFile: input, atomically: true, encoding: .utf8)
        let told = try expectTame(["session", "--model", model], input: input)
        #expect(told.output.contains(#"\u001b]0;x\u0007\u009b31m\u202e"#))
    }

    /// Files that are refused, whose names and contents stand in the message.
    @Test func refusalsAreTame() throws {
        let name = folder("file\u{1b}[31m\u{9b}m")
        for (text, command) in [
            (
                "{\(jsonString(Self.hostile)):[[1]]}",
                [
                    "logit-lens", "--model", model, "--image",
                    GoldenModel.llava.picture(), "--prompt", "p", "--mask", name,
                ]
            ),
            (
                "{\(jsonString(Self.hostile)):1}\n",
                ["evaluate", "--domain", "rs", "--answers", name]
            ),
            (Self.hostile, ["inspect", name]),
            (Self.hostile, ["status", name]),
            (Self.hostile, ["ask", "--model", model, "--image", name, "p"]),
            (Self.hostile, ["neurons", "--study", name]),
            (Self.hostile, ["explore", "--model", name]),
        ] {
            try text.write(toFile: name, atomically: true, encoding: .utf8)
            try expectTame(command, code: 2)
        }
    }
}
