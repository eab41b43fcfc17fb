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
}
