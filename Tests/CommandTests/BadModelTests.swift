import Foundation
import Support
import Testing

/// Model folders, masks and prompts that must be refused.
@Suite struct BadModelTests {
    /// A converted model of which one file can be replaced.
    private struct Model {
        let folder: TemporaryFolder
        let golden: GoldenModel
        let path: String

        init(_ golden: GoldenModel) throws {
            folder = try TemporaryFolder()
            self.golden = golden
            path = try golden.convert(in: folder)
        }

        func data(_ name: String) throws -> Data {
            try Data(contentsOf: URL(fileURLWithPath: path + "/" + name))
        }

        func write(_ name: String, _ data: Data) throws {
            try data.write(to: URL(fileURLWithPath: path + "/" + name))
        }

        /// A trace must be refused, and must leave nothing.
        func expectRefusal(
            naming words: [String], prompt: String? = nil, picture: String? = nil,
            more: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let arguments = golden.trace(
                path, to: folder("trace"), prompt: prompt, picture: picture)
            try CommandTests.expectRefusal(
                arguments + more, naming: words, sourceLocation: sourceLocation)
            #expect(try folder.entries().filter { $0.hasPrefix("trace") } == [])
        }
    }

    @Test func truncatedFiles() throws {
        let model = try Model(.llava)
        for name in ["language-f16.gguf", "vision-f16.gguf"] {
            let whole = try model.data(name)
            for count in [0, 3, 4, 12, 24, 1000, whole.count / 2, whole.count - 1] {
                try model.write(name, whole.prefix(count))
                try model.expectRefusal(naming: [name])
                try CommandTests.expectRefusal(
                    ["inspect", model.path + "/" + name], naming: [name])
            }
            try model.write(name, whole)
        }
        try expectExit(0, ["inspect", model.path])
    }

    /// Replaces the number behind a metadata key: key, type (u32), value.
    private func replace<T: FixedWidthInteger>(
        _ data: Data, key: String, type: UInt32, with value: T
    ) throws -> Data {
        let place = try #require(data.range(of: Data(key.utf8) + littleEndian(type)))
        var data = data
        data.replaceSubrange(
            place.upperBound..<place.upperBound + T.bitWidth / 8, with: littleEndian(value))
        return data
    }

    @Test func absurdMetadata() throws {
        let language = [
            "llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
            "llama.attention.head_count", "llama.attention.head_count_kv",
            "llama.attention.key_length", "llama.attention.value_length", "llama.vocab_size",
            "llama.rope.dimension_count",
        ]
        let vision = [
            "clip.vision.embedding_length", "clip.vision.feed_forward_length",
            "clip.vision.block_count", "clip.vision.attention.head_count",
            "clip.vision.image_size", "clip.vision.patch_size",
        ]
        for golden in [GoldenModel.llava, .blip] {
            let model = try Model(golden)
            for (name, keys) in [("language-f16.gguf", language), ("vision-f16.gguf", vision)] {
                let whole = try model.data(name)
                for key in keys {
                    for value: UInt32 in [0, 5, 1 << 31, .max, (1 << 31) - 1] {
                        try model.write(name, replace(whole, key: key, type: 4, with: value))
                        try model.expectRefusal(naming: [name])
                    }
                }
                try model.write(name, whole)
            }
        }
    }

    /// A context of 2^31 tokens is no reason to reserve memory for it.
    @Test func absurdContext() throws {
        let model = try Model(.llava)
        let name = "language-f16.gguf"
        let whole = try model.data(name)
        let endless: UInt32 = (1 << 31) - 1
        try model.write(name, replace(whole, key: "llama.context_length", type: 4, with: endless))
        let ask = ["ask", "--model", model.path, "--image", model.golden.picture(), "Why?"]
        try expectExit(0, ask + ["--max-tokens", "2"])
        // As many as that may not fit; where they do, it goes on and on.
        let result = try Command.run(ask + ["--max-tokens", "\(Int.max)"], killAfter: 1)
        #expect([1, -SIGKILL].contains(result.code), "\(result.code) \(result.errors)")
        for value: UInt32 in [0, 1 << 31, .max] {
            try model.write(
                name, replace(whole, key: "llama.context_length", type: 4, with: value))
            try model.expectRefusal(naming: [name, "context_length"])
        }
        try model.write(name, replace(whole, key: "llama.context_length", type: 4, with: UInt32(9)))
        try model.expectRefusal(naming: ["tokens", "context 9"])
    }

    @Test func foldersThatAreNoModel() throws {
        let model = try Model(.llava)
        let manager = FileManager.default
        let language = model.path + "/language-f16.gguf"
        try manager.copyItem(atPath: language, toPath: model.path + "/language-q4_0.gguf")
        try model.expectRefusal(naming: [model.path, "language-f16.gguf", "language-q4_0.gguf"])
        try manager.removeItem(atPath: model.path + "/language-q4_0.gguf")
        try manager.moveItem(atPath: language, toPath: model.folder("away"))
        try model.expectRefusal(naming: [model.path, "language-"])
        try manager.createDirectory(atPath: language, withIntermediateDirectories: false)
        try model.expectRefusal(naming: [language])

        let picture = GoldenModel.llava.picture()
        for path in [
            model.folder("nowhere"), model.folder.path, model.folder("away"), "", "/dev/null",
        ] {
            try CommandTests.expectRefusal(
                ["ask", "--model", path, "--image", picture, "Why?"], naming: [path])
        }
        for path in [model.folder("nowhere"), "", "/dev/null", picture] {
            try CommandTests.expectRefusal(["inspect", path], naming: [path])
        }
        // The files of two models.
        let other = try GoldenModel.blip.convert(in: model.folder, name: "other")
        try CommandTests.expectRefusal(
            [
                "ask", "--language", model.folder("away"), "--vision", other + "/vision-f16.gguf",
                "--image", picture, "Why?",
            ], naming: ["other/vision-f16.gguf"])
        try CommandTests.expectRefusal(
            [
                "ask", "--language", other + "/vision-f16.gguf", "--vision",
                other + "/language-f16.gguf", "--image", picture, "Why?",
            ], naming: ["other"])
    }

    @Test(.enabled(if: getuid() != 0, "NOT RUN: the administrator reads every file"))
    func unreadableFiles() throws {
        let model = try Model(.llava)
        chmod(model.path + "/language-f16.gguf", 0)
        try model.expectRefusal(naming: ["language-f16.gguf"])
    }

    @Test func masks() throws {
        let model = try Model(.llava)
        // Three layers of 96 in lang and vision, one of 64 in mmproj.
        let masks: [(String, [String])] = [
            (#"{"long": [[], [], []]}"#, ["long", "lang"]),
            (#"{"qformer": [[], []]}"#, ["qformer"]),
            (#"{"lang": [[], []]}"#, ["lang", "3 layers"]),
            (#"{"lang": [[], [], [], []]}"#, ["lang", "3 layers"]),
            (#"{"lang": [[], [96], []]}"#, ["lang", "layer 1", "96"]),
            (#"{"lang": [[], [-1], []]}"#, ["lang", "layer 1", "-1"]),
            (#"{"lang": [[1.5], [], []]}"#, ["lang", "layer 0"]),
            (#"{"lang": [[5, 5], [], []]}"#, ["lang", "layer 0", "twice"]),
            (#"{"lang": [["5"], [], []]}"#, ["lang", "layer 0"]),
            (#"{"lang": [[99999999999999999999], [], []]}"#, ["lang", "layer 0"]),
            (#"{"lang": 7}"#, ["lang"]),
            (#"{"mmproj": [[64]]}"#, ["mmproj", "layer 0", "64"]),
            ("[]", ["mask"]), ("", ["JSON"]), ("{", ["JSON"]), ("null", ["mask"]),
        ]
        for (text, words) in masks {
            let path = try model.folder.write("mask.json", text: text)
            try model.expectRefusal(naming: [path] + words, more: ["--mask", path])
        }
        for path in [model.folder("nowhere"), model.folder.path] {
            try model.expectRefusal(naming: [path], more: ["--mask", path])
        }
        let fine = try model.folder.write(
            "mask.json", text: #"{"mmproj": [[63]], "lang": [[0],[],[95]]}"#)
        try expectExit(
            0, model.golden.trace(model.path, to: model.folder("trace")) + ["--mask", fine])
    }

    @Test func prompts() throws {
        let model = try Model(.llava)
        for prompt in ["Why?", "", "<image", "< image >"] {
            try model.expectRefusal(naming: ["<image>", "0 times"], prompt: prompt)
        }
        try model.expectRefusal(naming: ["<image>", "2 times"], prompt: "<image> or <image>?")
        let long = "<image>\n" + String(repeating: "What is this? ", count: 2000)
        try model.expectRefusal(naming: ["tokens", "context 4096"], prompt: long)
        // Words alone are enough for `ask`, which puts the picture in front.
        let ask = [
            "ask", "--model", model.path, "--image", model.golden.picture(), "--max-tokens", "1",
        ]
        try expectExit(0, ask + [""])
        try expectExit(0, ask + ["Why?"])
        try CommandTests.expectRefusal(ask + ["<image><image>"], naming: ["2 times"])
        try CommandTests.expectRefusal(ask + ["--raw-prompt", "Why?"], naming: ["0 times"])

        let blip = try Model(.blip)
        try expectExit(0, blip.golden.trace(blip.path, to: blip.folder("trace"), prompt: ""))
        try expectExit(
            0, blip.golden.trace(blip.path, to: blip.folder("trace"), prompt: "<image><image>"))
        try FileManager.default.removeItem(atPath: blip.folder("trace"))
        try blip.expectRefusal(naming: ["tokens"], prompt: String(repeating: "why ", count: 5000))
    }

    @Test func outputsOfATrace() throws {
        let model = try Model(.llava)
        try FileManager.default.createDirectory(
            atPath: model.folder("folder"), withIntermediateDirectories: false)
        for output in [model.folder("folder"), model.folder("nowhere/trace"), ""] {
            let result = try Command.run(model.golden.trace(model.path, to: output))
            #expect(result.code == 1 || result.code == 2, "\(result.code) \(result.errors)")
            #expect(output.isEmpty || result.errors.contains(output))
        }
        #expect(try model.folder.entries() == ["folder", "model"])
        // A file that is there stays as it is if the new one cannot be made.
        let old = try model.folder.write("trace", text: "old")
        try expectRefusal(
            model.golden.trace(model.path, to: old, prompt: "no picture"), naming: ["<image>"])
        #expect(try String(contentsOfFile: old, encoding: .utf8) == "old")
    }
}
