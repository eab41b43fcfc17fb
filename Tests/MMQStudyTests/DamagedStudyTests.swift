import GRDB
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// Numbers that no run writes are a damaged file, not a crash.
@Suite struct DamagedStudyTests {
    private func study(_ folder: TemporaryFolder) throws -> Study {
        let study = try Study(path: folder.path + "/study", access: .writing)
        let shape = ModuleShape(name: "lang", layers: 1, neurons: 2)
        try study.bind(modules: [shape], fingerprint: "m")
        try study.save(
            Identification(
                module: shape, domains: [.ad, .rs], split: "train",
                settings: .init(topRate: 0.5, filterRate: 0.5, activationBar: 0.5),
                filterThreshold: 0, activationThreshold: 0, selected: 1, neurons: [[[0]], [[1]]]))
        return study
    }

    private func expectDamage(_ work: () throws -> Void, _ what: String) {
        do {
            try work()
            Issue.record("\(what): nothing was thrown")
        } catch let error as InputError {
            #expect(error.code == .badInput && "\(error)".contains("damaged"), "\(what): \(error)")
        } catch {
            Issue.record("\(what): \(error)")
        }
    }

    @Test(arguments: ["layers", "neurons"])
    func shapes(_ column: String) throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        for value in ["-1", "0", "1000000000000", "4611686018427387904"] {
            try study.write { try $0.execute(sql: "UPDATE module SET \(column) = \(value)") }
            expectDamage({ _ = try study.modules() }, "\(column) \(value)")
            expectDamage({ _ = try study.module("lang") }, "\(column) \(value)")
        }
    }

    @Test func neuronSets() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        #expect(try study.identification(module: "lang")?.selected == 1)
        for value in ["-1", "3", "9223372036854775807"] {
            try study.write { try $0.execute(sql: "UPDATE identification SET selected = \(value)") }
            expectDamage({ _ = try study.identification(module: "lang") }, value)
        }
    }

    @Test func deviations() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        var pass = LensPass(
            kind: .deviation, domain: .rs, split: "train", setting: "lang", bench: "b", options: "o"
        )
        pass.samples = 1
        try study.commit(
            pass,
            deviations: [
                DeviationSample(
                    place: 0, mask: .ad, imageTokens: 1, textTokens: 1, sums: [1, 0, 1, 0])
            ])
        #expect(try study.deviationSummaries(pass).count == 1)
        for column in ["image_tokens", "text_tokens"] {
            for value in ["-1", "-9223372036854775807", "9223372036854775807"] {
                try study.write {
                    try $0.execute(sql: "UPDATE deviation_sample SET \(column) = \(value)")
                }
                expectDamage({ _ = try study.deviationSummaries(pass) }, "\(column) \(value)")
            }
            try study.write { try $0.execute(sql: "UPDATE deviation_sample SET \(column) = 1") }
        }
    }
}
