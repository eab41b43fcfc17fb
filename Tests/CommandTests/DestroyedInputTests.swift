import Foundation
import Support
import Testing

/// No output may replace a file that the same command reads, under whatever name it goes.
@Suite struct DestroyedInputTests {
    private func bytes(_ path: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path))
    }

    /// The command is refused, and the input is what it was.
    private func expectKept(
        _ input: String, under outputs: [String], _ command: (String) -> [String]
    ) throws {
        let before = try bytes(input)
        for output in outputs {
            try expectRefusal(command(output), naming: [output, "input"])
            #expect(try bytes(input) == before, "\(output)")
            #expect(!FileManager.default.fileExists(atPath: input + ".partial"))
        }
    }

    @Test func traceKeepsPictureAndModel() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        let picture = folder("picture.png")
        try FileManager.default.copyItem(atPath: golden.picture(), toPath: picture)
        try FileManager.default.createSymbolicLink(
            atPath: folder("link.png"), withDestinationPath: picture)
        try FileManager.default.linkItem(atPath: picture, toPath: folder("other.png"))
        let names = [
            picture, folder("link.png"), folder("other.png"), folder.path + "/model/../picture.png",
        ]
        try expectKept(picture, under: names) { golden.trace(model, to: $0, picture: picture) }
        for file in ["language-f16.gguf", "vision-f16.gguf"] {
            let path = model + "/" + file
            try expectKept(path, under: [path]) { golden.trace(model, to: $0, picture: picture) }
        }
        let mask = folder("mask.json")
        try FileManager.default.copyItem(atPath: golden.mask, toPath: mask)
        try expectKept(mask, under: [mask]) {
            golden.trace(model, to: $0, picture: picture) + ["--mask", mask]
        }
        try expectKept(picture, under: [picture]) {
            [
                "logit-lens", "--model", model, "--image", picture, "--prompt", golden.prompt,
                "--output", $0,
            ]
        }
    }

    /// The name under which an output grows is an output's too.
    @Test func traceKeepsAnInputNamedPartial() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        let picture = folder("picture.png.partial")
        try FileManager.default.copyItem(atPath: golden.picture(), toPath: picture)
        let before = try bytes(picture)
        try expectRefusal(
            golden.trace(model, to: folder("picture.png"), picture: picture),
            naming: [picture, "input"])
        #expect(try bytes(picture) == before)
    }

    @Test func reportKeepsStudies() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        for name in ["study", "other"] {
            try expectExit(
                0,
                [
                    "activation", "--model", model, "--bench", goldenBench, "--study",
                    folder(name), "--domain", "rs", "--samples", "1",
                ])
        }
        try FileManager.default.createSymbolicLink(
            atPath: folder("link"), withDestinationPath: folder("study"))
        let report = ["report", "--study", folder("study"), "--compare", folder("other")]
        /// All but the moment at which the report was made.
        func content() throws -> NSDictionary {
            var document = try expectExit(0, report + ["--output", folder("page"), "--json"])
                .object()
            #expect(document.removeValue(forKey: "made") is String)
            return NSDictionary(dictionary: document)
        }
        let before = try content()
        let files = try ["study", "other"].map { try bytes(folder($0)) }
        for name in ["study", "other", "link", "study-wal", "./study"] {
            let output = folder(name)
            guard FileManager.default.fileExists(atPath: output) else { continue }
            try expectRefusal(report + ["--output", output], naming: [output, "input"])
            #expect(try content() == before, "\(name)")
        }
        // To look at a study leaves its file as it was, to the byte.
        #expect(try ["study", "other"].map { try bytes(folder($0)) } == files)
    }

    /// An older output is replaced as ever.
    @Test func anOlderOutputIsReplaced() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        for _ in 0..<2 { try expectExit(0, golden.trace(model, to: folder("trace"))) }
    }

    /// A pipe is no input: opening it would wait for a writer that may never come.
    @Test func aPipeIsRefused() throws {
        let folder = try TemporaryFolder()
        let pipe = folder("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        for arguments in [
            ["ask", "--model", "none", "--image", pipe, "Why?"], ["inspect", pipe],
            ["evaluate", "--answers", pipe, "--domain", "rs"],
            ["ask", "--language", pipe, "--vision", pipe, "--image", pipe, "Why?"],
        ] {
            try expectRefusal(arguments, naming: [pipe, "pipe"])
        }
    }
}
