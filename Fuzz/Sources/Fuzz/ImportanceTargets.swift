import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels

extension Targets {
    /// Importance files: gone on with by a calibration, written again, and one of 32 read for a
    /// conversion, which reads the model too and takes as long as all the rest.
    static func importance() throws -> Target {
        let checkpoint = "llava-next/hub-f16"
        let made = Scratch.path("made.gguf")
        try calibrate(Golden.converted(checkpoint, .f16), to: made)
        /// Input channels of each weight.
        let inputs = Dictionary(
            uniqueKeysWithValues: try GGUFFile(path: made).tensors.compactMap { tensor in
                tensor.name.hasSuffix(".in_sum2")
                    ? (String(tensor.name.dropLast(8)), tensor.shape.last ?? 0) : nil
            })
        let path = Scratch.path("importance.gguf")
        let again = Scratch.path("again.gguf")
        return Target {
            [Seed("made", try readSmallFile(made))]
        } run: { input in
            try Scratch.write(input, to: path)
            let file = try ImportanceFile(path: path)
            for name in file.names.prefix(64) {
                attempt { _ = try file.importance(of: name, inputs: inputs[name] ?? 32) }
            }
            attempt {
                let found = try file.calibration()
                guard found.statistics.contains(where: { !$0.products.isEmpty }) else { return }
                try ImportanceFile.write(found, to: again)
                let read = try ImportanceFile(path: again).calibration()
                precondition(
                    read.domains == found.domains
                        && read.statistics.map(\.products) == found.statistics.map(\.products),
                    "a calibration that was written is not what was read")
            }
            guard takesLongWay(input, share: 32) else { return }
            attempt {
                _ = try Converter(
                    checkpoint: Golden.folder + "/\(checkpoint)/checkpoint",
                    options: ConversionOptions(type: .q4_0, importance: path))
            }
        }
    }

    /// A calibration over a small picture, as if it were a sample of two domains.
    private static func calibrate(_ folder: String, to path: String) throws {
        let model = try ModelFiles.open(folder: folder).open()
        let picture = RGBImage(
            width: 9, height: 7, pixels: (0..<9 * 7 * 3).map { UInt8(truncatingIfNeeded: $0 * 7) })
        var calibration = ImportanceFile.Calibration(
            model: model.fingerprint, split: "train", form: "full", imageWeight: 1)
        for domain in ["rs", "com"] {
            let statistics = InputStatistics()
            try model.measureInputs(image: picture, prompt: "<image>\nWhy?", to: statistics)
            var progress = ImportanceFile.Progress(domain: domain, bench: "annotations")
            progress.position = 1
            progress.samples = 1
            calibration.append(progress, statistics)
        }
        try ImportanceFile.write(calibration, to: path)
    }
}
