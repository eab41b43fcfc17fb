import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// What runs of second-order rounding leave behind, and take up.
@Suite struct RoundingRunTests {
    private struct Stop: Error {}

    let folder: TemporaryFolder
    let golden = GoldenModel.llava

    init() throws { folder = try TemporaryFolder() }

    private func rounding(
        _ model: any VisionLanguageModel, to name: String, changing pixel: UInt8? = nil,
        replace: Bool = false, types: WeightTypes = WeightTypes(.iq4_nl)
    ) throws -> WeightRounding {
        let rounding = try WeightRounding(
            model, to: folder(name), prompts: "p", options: .init(types: types, replace: replace))
        for item in try golden.cases() {
            var image = item.image
            if let pixel { image.pixels[0] = pixel }
            try rounding.add(image: image, prompt: item.prompt)
        }
        return rounding
    }

    private func bytes(_ files: [String]) throws -> [Data] {
        try files.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
    }

    private func stop(_ model: any VisionLanguageModel, in name: String) throws {
        #expect(throws: Stop.self) {
            try rounding(model, to: name).run { _ in throw Stop() }
        }
    }

    /// A layer that was rounded over other pictures is not gone on with, whatever the bench says: some
    /// may not have been there.
    @Test func otherPicturesAreAnotherRun() throws {
        let model = try golden.open(.f16, in: folder)
        try stop(model, in: "out")
        let error = #expect(throws: InputError.self) {
            try rounding(model, to: "out", changing: 0).run { _ in }
        }
        #expect(error?.code == .mismatch)
        #expect(error?.description.contains("--force") == true)
        let anew = try rounding(model, to: "out", changing: 0, replace: true).run { _ in }
        let whole = try rounding(model, to: "whole", changing: 0).run { _ in }
        #expect(try bytes(anew) == bytes(whole))
    }

    /// A layer's file that is damaged is named; `replace` makes it anew.
    @Test func damagedLayers() throws {
        let model = try golden.open(.f16, in: folder)
        let whole = try rounding(model, to: "whole").run { _ in }
        try stop(model, in: "out")
        let part = folder("out/.rounding-0.part")
        let left = try [UInt8](Data(contentsOf: URL(fileURLWithPath: part)))
        for count in [0, 100, left.count / 2] {
            _ = try folder.write("out/.rounding-0.part", Array(left.prefix(count)))
            let error = #expect(throws: InputError.self) { try rounding(model, to: "out") }
            #expect(error?.description.contains(part) == true)
        }
        let made = try rounding(model, to: "out", replace: true).run { _ in }
        #expect(try bytes(made) == bytes(whole))
    }

    /// Killed while it removes its layers, the first last, it ends with the same files.
    @Test func killedBehindItsEnd() throws {
        let model = try golden.open(.f16, in: folder)
        var parts: [[UInt8]] = []
        let layers = model.backend.decoder.layers.count
        let whole = try rounding(model, to: "whole").run { done in
            guard done == layers else { return }
            parts = try (0..<layers).map {
                try [UInt8](
                    Data(contentsOf: URL(fileURLWithPath: folder("whole/.rounding-\($0).part"))))
            }
        }
        let before = try bytes(whole)
        for left in 1...layers {
            for (index, part) in parts.prefix(left).enumerated() {
                _ = try folder.write("whole/.rounding-\(index).part", part)
            }
            #expect(try bytes(rounding(model, to: "whole").run { _ in }) == before)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder("whole"))
            #expect(names.count == 2, "\(names)")
        }
    }

    /// Two runs in one folder would take up each other's layers.
    @Test func oneRunAtATime() throws {
        let model = try golden.open(.f16, in: folder)
        let first = try rounding(model, to: "out")
        let error = #expect(throws: InputError.self) { try rounding(model, to: "out") }
        #expect(error?.code == .locked)
        _ = try first.run { _ in }
    }

    /// What a type cannot store is refused: of the table and the head before any work is done, of a
    /// layer when its turn comes, and no layer with an infinity is left.
    @Test(arguments: ["token_embd.weight", "blk.1.ffn_down.weight"])
    func refusesWhatCannotBeStored(_ name: String) throws {
        _ = try golden.open(.f32, in: folder)
        let path = folder("model-f32/language-f32.gguf")
        let place = try {
            let file = try GGUFFile(path: path)
            let tensor = try #require(try file.bytes(file.tensor(name)).baseAddress)
            return try tensor - #require(file.bytes.baseAddress)
        }()
        var content = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        withUnsafeBytes(of: Float(1e9).bitPattern.littleEndian) {
            content.replaceSubrange(place + 4..<place + 8, with: $0)
        }
        _ = try folder.write("model-f32/language-f32.gguf", content)
        let model = try ModelFiles(folder: folder("model-f32")).open()
        let types = WeightTypes(.iq4_nl).keeping(try WeightRule.list(["down=f16"]))
        var isBegun = false
        let error = #expect(throws: InputError.self) {
            let run = try rounding(model, to: "out", types: types)
            isBegun = true
            _ = try run.run { _ in }
        }
        #expect(error?.code == .nonFinite, "\(String(describing: error))")
        for word in [path, name, "[0, 1]", "1e+09"] {
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
        // Nor a folder that was made for nothing.
        let left = try? FileManager.default.contentsOfDirectory(atPath: folder("out"))
        #expect(isBegun == (name != "token_embd.weight"))
        #expect(left == (isBegun ? [".rounding-0.part"] : nil))
    }
}
