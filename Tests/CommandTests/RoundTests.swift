import Foundation
import Support
import Testing

/// `mmq round`, through the binary.
@Suite struct RoundTests {
    private func round(_ model: String, _ output: String, _ more: String...) -> [String] {
        [
            "round", "--model", model, "--bench", goldenBench, "--domain", "rs,com", "--output",
            output, "--samples", "2",
        ] + more
    }

    private func bytes(_ path: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path))
    }

    @Test func makesAModel() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        try expectExit(0, round(model, folder("made")))
        let made = folder("made/language-iq4_nl.gguf")
        let vision =
            try FileManager.default.contentsOfDirectory(atPath: model)
            .first { $0.hasPrefix("vision") } ?? ""
        #expect(try bytes(folder("made/\(vision)")) == bytes("\(model)/\(vision)"))
        try expectExit(0, golden.trace(folder("made"), to: folder("trace")))
        try expectRefusal(round(model, folder("made")), naming: [folder("made")])
        let before = try bytes(made)
        try expectExit(0, round(model, folder("made"), "--force", "--threads", "1"))
        #expect(try bytes(made) == before)
        try expectExit(0, round(model, folder("made"), "--force", "--image-weight", "0"))
        #expect(try bytes(made) != before)
        try expectExit(0, round(model, folder("made"), "--force", "--leave-out", "2"))
        #expect(try bytes(made) != before)
        try expectRefusal(
            round(model, folder("empty"), "--leave-out", "99"),
            naming: [goldenBench, "behind the first 99"])
        try expectRefusal(round(folder("made"), folder("twice")), naming: [made, "F16"])
        #expect(!FileManager.default.fileExists(atPath: folder("twice")))
        try expectExit(2, round(model, folder("none"), "--image-weight", "-1"))
        try expectExit(2, round(model, folder("none"), "--samples", "0"))
        try expectExit(2, round(model, folder("none"), "--leave-out", "-1"))
        #expect(!FileManager.default.fileExists(atPath: folder("none")))
    }

    /// Its own input as the output is refused before any work, and what it makes opens by its folder,
    /// whatever the input's files are called.
    @Test func placesOfItsFiles() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder, type: "f16", visionType: "f16")
        let files = ["language-f16.gguf", "vision-f16.gguf"].map { "\(model)/\($0)" }
        let before = try files.map(bytes)
        try expectRefusal(round(model, model, "--force"), naming: [files[1]])
        #expect(try files.map(bytes) == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: model).count == 2)
        try FileManager.default.copyItem(atPath: files[1], toPath: folder("v.gguf"))
        var words = round("", folder("made"))
        words.replaceSubrange(1..<3, with: ["--language", files[0], "--vision", folder("v.gguf")])
        let result = try expectExit(0, words)
        #expect(result.output.contains(folder("made/vision-f16.gguf")))
        try expectExit(0, golden.trace(folder("made"), to: folder("trace")))
        let other = try expectExit(0, round(model, folder("made"), "--type", "q4_0", "--force"))
        #expect(other.errors.contains("language-iq4_nl.gguf and language-q4_0.gguf"))
    }

    /// A sample that the model cannot take is none of a study's, nor of those left out.
    @Test func leavesOutWhatAStudyTakes() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let pictures = "/rs/Data/", questions = "/rs/USGS_split_train_questions.json"
        func made(_ name: String, _ change: (String) throws -> Void) throws -> Data {
            let bench = folder(name + "-bench")
            try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
            try change(bench)
            var words = round(model, folder(name), "--leave-out", "2", "--samples", "1")
            words[words.firstIndex(of: goldenBench)!] = bench
            words[words.firstIndex(of: "rs,com")!] = "rs"
            try expectExit(0, words)
            return try bytes(folder(name + "/language-iq4_nl.gguf"))
        }
        // Of three pictures in four there is nothing: the picture is not there, or the question is
        // longer than the model can take.
        func isOut(_ picture: Int) -> Bool { picture % 4 != 1 }
        let missing = try made("missing") { bench in
            for picture in 0..<12 where isOut(picture) {
                try FileManager.default.removeItem(atPath: "\(bench)\(pictures)\(picture).png")
            }
        }
        let refused = try made("refused") { bench in
            let object = try JSONSerialization.jsonObject(with: bytes(bench + questions))
            var file = try #require(object as? [String: Any])
            var entries = try #require(file["questions"] as? [[String: Any]])
            for (i, entry) in entries.enumerated() {
                guard let picture = entry["img_id"] as? Int, isOut(picture) else { continue }
                entries[i]["question"] = String(repeating: "many words ", count: 4000)
            }
            file["questions"] = entries
            try JSONSerialization.data(withJSONObject: file).write(
                to: URL(fileURLWithPath: bench + questions))
        }
        #expect(missing == refused)
    }
}
