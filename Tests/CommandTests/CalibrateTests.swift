import Foundation
import MMQBase
import Support
import Testing

/// `mmq calibrate` and `mmq convert --importance`, through the binary.
@Suite struct CalibrateTests {
    private func calibrate(
        _ model: String, _ output: String, samples: Int, _ more: String...
    ) -> [String] {
        [
            "calibrate", "--model", model, "--bench", goldenBench, "--domain", "rs,com",
            "--output", output, "--samples", String(samples),
        ] + more
    }

    private func bytes(_ path: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path))
    }

    /// However it was interrupted and taken up again, the file is the same to the byte.
    @Test(arguments: [GoldenModel.llava, .blip])
    func goesOnToTheSameFile(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder)
        try expectExit(0, calibrate(model, folder("whole"), samples: 4))
        for samples in [1, 3, 4, 4] {
            try expectExit(0, calibrate(model, folder("parts"), samples: samples))
        }
        #expect(try bytes(folder("parts")) == bytes(folder("whole")))
        try expectExit(0, calibrate(model, folder("parts"), samples: 2, "--again"))
        #expect(try bytes(folder("parts")) != bytes(folder("whole")))
        try expectRefusal(
            calibrate(model, folder("whole"), samples: 2), naming: [folder("whole"), "rs"])
        for other in [["--image-weight", "2"], ["--prompt-form", "simple"], ["--split", "val"]] {
            try expectRefusal(
                calibrate(model, folder("whole"), samples: 4) + other,
                naming: [folder("whole"), other[0]])
        }
        let another = try golden.convert(in: folder, type: "q8_0", name: "another")
        try expectRefusal(
            calibrate(another, folder("whole"), samples: 5), naming: [folder("whole"), "model"])
        try expectRefusal(
            calibrate(model, model + "/language-f16.gguf", samples: 5),
            naming: [model + "/language-f16.gguf", "imatrix"])
        try expectExit(2, calibrate(model, folder("none"), samples: 0))
        try expectExit(2, calibrate(model, folder("none"), samples: 1, "--image-weight", "-1"))
        #expect(!FileManager.default.fileExists(atPath: folder("none")))
    }

    /// Two runs on one file would each lose what the other has measured.
    @Test func oneRunAtATime() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let lock = try FileLock(beside: folder("file"), named: "file", kind: "importance file")
        let result = try expectExit(1, calibrate(model, folder("file"), samples: 1))
        #expect(result.errors.contains("\(folder("file")): another process"))
        #expect(!FileManager.default.fileExists(atPath: folder("file")))
        withExtendedLifetime(lock) {}
    }

    /// A bench of which no sample can be taken leaves no file, and says so by its exit code.
    @Test func saysThatNothingCouldBeTaken() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: goldenBench, toPath: bench)
        try FileManager.default.removeItem(atPath: bench + "/rs/Data")
        var words = calibrate(model, folder("none"), samples: 2)
        words[words.firstIndex(of: goldenBench)!] = bench
        words[words.firstIndex(of: "rs,com")!] = "rs"
        let result = try expectExit(2, words)
        #expect(result.errors.contains(bench) && result.errors.contains(folder("none")))
        #expect(!FileManager.default.fileExists(atPath: folder("none")))
    }

    @Test func convertsWithIt() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.llava
        let model = try golden.convert(in: folder)
        try expectExit(0, calibrate(model, folder("file"), samples: 4))
        let plain = try golden.convert(in: folder, type: "iq4_nl", name: "plain")
        let weighed = try golden.convert(
            in: folder, type: "iq4_nl", name: "weighed", more: ["--importance", folder("file")])
        #expect(
            try bytes(plain + "/language-iq4_nl.gguf") != bytes(weighed + "/language-iq4_nl.gguf"))
        // Without a type this is the one.
        try expectExit(
            0,
            [
                "convert", golden.checkpoint, "--output", folder("untold"), "--importance",
                folder("file"), "--vision-type", "f32",
            ])
        #expect(
            try bytes(folder("untold/language-iq4_nl.gguf"))
                == bytes(weighed + "/language-iq4_nl.gguf"))
        try expectExit(0, golden.trace(weighed, to: folder("trace")))
        let other = GoldenModel.blip
        for wrong in [folder("file"), folder("trace"), folder("nowhere")] {
            let output = folder("refused")
            try expectRefusal(
                [
                    "convert", other.checkpoint, "--output", output, "--type", "iq4_nl",
                    "--importance", wrong,
                ], naming: [wrong])
            #expect(!FileManager.default.fileExists(atPath: output))
        }
    }
}
