import Foundation
import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

@testable import MMQStudy

@Suite struct ExportTests {
    private let bench = Golden.folder + "/study/bench"

    private func study(_ path: String) throws -> Study {
        let study = try Study(path: path, access: .writing)
        let plan = try CountingPlan(
            study: study, model: PixelModel(), bench: bench, goal: .samples(3))
        for domain in [Domain.med, .rs, .com] { _ = try ResumableRun(plan.step(domain)).run() }
        let settings = Identification.Settings(topRate: 0.4, filterRate: 0.3, activationBar: 0.5)
        for module in ["lang", "vision"] {
            try study.save(study.identify(module: module, settings: settings))
        }
        return study
    }

    @Test func filesHaveTheOfficialNames() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder.path + "/s.sqlite")
        let out = folder.path + "/out"
        let files = try StudyExport.write(study, to: out)
        #expect(
            files.map { String($0.dropFirst(out.count + 1)) } == [
                "llava/activation/med.safetensors", "llava/activation/rs.safetensors",
                "llava/activation/com.safetensors", "llava/blocks/med.safetensors",
                "llava/blocks/rs.safetensors", "llava/blocks/com.safetensors",
                "llava/moments/med.safetensors", "llava/moments/rs.safetensors",
                "llava/moments/com.safetensors",
                "llava/mask/lang.json", "llava/mask/vision.json",
            ])
        let counts = try study.counts(domain: .rs, split: "train")
        let file = try SafetensorsFile(path: files[1])
        #expect(file.tensors.count == 6)
        for entry in counts {
            let name = entry.shape.name
            let log = try file.tensor(name + "_log")
            #expect(log.type == .i64)
            #expect(log.shape == [entry.shape.layers, entry.shape.neurons])
            #expect(try file.integers(name + "_log") == entry.counts)
            #expect(try file.tensor(name + "_value").type == .f64)
            #expect(try file.doubles(name + "_value") == entry.sums)
            #expect(try file.tensor(name + "_len").shape == [1])
            #expect(try file.integers(name + "_len") == [entry.tokens])
        }
        let mask = try JSONValue(file: files[10])
        let found = try #require(try study.identification(module: "vision"))
        #expect(try mask.at("domains").texts() == ["med", "rs", "com"])
        for (domain, neurons) in zip(found.domains, found.neurons) {
            let lists = try mask.at("neurons").at(domain.rawValue).list().map { try $0.integers() }
            #expect(lists == neurons)
        }
    }

    @Test func importReadsWhatExportWrote() throws {
        let folder = try TemporaryFolder()
        let first = try study(folder.path + "/s.sqlite")
        let out = folder.path + "/out"
        let files = try StudyExport.write(first, to: out)
        let second = try Study(path: folder.path + "/t.sqlite", access: .writing)
        // Blocks and moments are for others to look at: what is read back has none.
        #expect(
            Set(try StudyExport.read([out], into: second))
                == Set(files.filter { !$0.contains("/blocks/") && !$0.contains("/moments/") }))
        #expect(try second.modules() == first.modules())
        for domain in [Domain.med, .rs, .com] {
            let (mine, theirs) = try (
                second.counts(domain: domain, split: "train"),
                first.counts(domain: domain, split: "train")
            )
            #expect(mine.map(\.shape) == theirs.map(\.shape))
            #expect(mine.map(\.counts) == theirs.map(\.counts))
            #expect(mine.map(\.sums) == theirs.map(\.sums))
            #expect(mine.map(\.tokens) == theirs.map(\.tokens))
        }
        for module in ["lang", "vision"] {
            #expect(
                try second.identification(module: module) == first.identification(module: module))
        }
        // Twice is the same as once; a run does not count into it, and it not into a run's study.
        try StudyExport.read([out], into: second)
        #expect(throws: InputError.self) {
            try CountingPlan(study: second, model: PixelModel(), bench: bench, goal: .samples(1))
        }
        let error = #expect(throws: InputError.self) { try StudyExport.read([out], into: first) }
        #expect(error?.code == .mismatch)
    }

    @Test func wrongFilesAreRefused() throws {
        let folder = try TemporaryFolder()
        let study = try Study(path: folder.path + "/s.sqlite", access: .writing)
        func write(_ name: String, _ log: [Int64], tokens: [Int64]) throws -> String {
            let path = folder.path + "/" + name
            let writer = try SafetensorsWriter(
                path: path,
                tensors: [
                    .init(name: "lang_log", type: .i64, shape: [1, log.count]),
                    .init(name: "lang_value", type: .f64, shape: [1, log.count]),
                    .init(name: "lang_len", type: .i64, shape: [tokens.count]),
                ])
            try writer.write("lang_log", log)
            try writer.write("lang_value", log.map(Double.init))
            try writer.write("lang_len", tokens)
            try writer.commit()
            return path
        }
        for path in [
            try write("mars.safetensors", [1], tokens: [1]),
            try write("ad.safetensors", [-1], tokens: [1]),
            try write("med.safetensors", [2], tokens: [1]),
            try write("rs.safetensors", [1], tokens: [1, 2]),
        ] {
            #expect(throws: InputError.self, "\(path)") {
                try StudyExport.read([path], into: study)
            }
        }
        try StudyExport.read([try write("doc.safetensors", [1, 0], tokens: [1])], into: study)
        let other = try write("com.safetensors", [1, 0, 0], tokens: [1])
        #expect(throws: InputError.self) { try StudyExport.read([other], into: study) }
        try folder.write(
            "mask/lang.json", text: #"{"domains": ["doc", "doc"], "neurons": {"doc": [[0]]}}"#)
        let mask = folder.path + "/mask/lang.json"
        #expect(throws: InputError.self) { try StudyExport.read([mask], into: study) }
        try folder.write(
            "mask/lang.json", text: #"{"domains": ["doc"], "neurons": {"doc": [[2]]}}"#)
        #expect(throws: InputError.self) { try StudyExport.read([mask], into: study) }
        try folder.write(
            "mask/lang.json", text: #"{"domains": ["doc"], "neurons": {"doc": [[1]]}}"#)
        try StudyExport.read([folder.path + "/mask/lang.json"], into: study)
        #expect(try study.identification(module: "lang")?.neurons == [[[1]]])
    }
}
