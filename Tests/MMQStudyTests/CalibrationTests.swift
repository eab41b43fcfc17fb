import MMQBase
import StudySupport
import Support
import Testing

@testable import MMQModels
@testable import MMQStudy

/// A calibration goes on only from what this model can have left.
@Suite struct CalibrationTests {
    @Test(arguments: [
        ("blk.0.attn_q.weight", 3, "3 channels"), ("blk.99.attn_q.weight", 96, "a weight of"),
    ])
    func sumsOfOtherWidths(_ name: String, _ inputs: Int, _ word: String) throws {
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        func plan() throws -> CalibrationPlan {
            try CalibrationPlan(
                model: model, bench: LensFixture.bench, split: "train", form: .full, samples: 1,
                imageWeight: 1, output: folder("file"), again: false, allowsOutside: false)
        }
        _ = try ResumableRun(plan().step(.rs)).run()
        _ = try plan()
        let found = try ImportanceFile(path: folder("file")).calibration()
        var product = InputStatistics.Product(inputs: inputs)
        product.text.positions = 1
        found.statistics[0].products[name] = product
        try ImportanceFile.write(found, to: folder("file"))
        let error = #expect(throws: InputError.self) { try plan() }
        #expect(error?.code == .badShape && error?.file == folder("file"))
        #expect(error?.item?.contains(name) == true)
        #expect(error?.description.contains(word) == true)
    }
}
