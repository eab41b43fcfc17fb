import Foundation
import MMQBase
import MMQModels
import MMQStudy

extension Targets {
    /// What a folder of activation values says of itself, damaged, by a run that would go on with it.
    static func activations() throws -> Target {
        let model = try ModelFiles.open(folder: Golden.converted("llava-next/hub-f16", .q8_0))
            .open()
        let folder = try Scratch.makeFolder("activations")
        func plan() throws -> ActivationsPlan {
            try ActivationsPlan(
                model: model, bench: Golden.folder + "/bench", samples: 4,
                selection: ActivationSelection(
                    sites: ["mlp:lang.1", "mlp:mmproj"], neurons: nil, rows: .all, of: model),
                fileSize: 20_000, output: folder)
        }
        var done = 0
        _ = try ResumableRun(
            plan().step(.rs), interrupted: { done > 0 },
            tell: { if case .progress = $0 { done += 1 } }
        ).run()
        let folders = FolderCases()
        try folders.add(folder: folder, files: ["activations.json", "rs/progress.json"])
        return folders.target { _, _ in
            let step = try plan().step(.rs)
            precondition(step.start.samples <= step.start.position, "more samples than places")
        }
    }
}
