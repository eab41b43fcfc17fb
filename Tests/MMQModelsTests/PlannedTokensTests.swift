import MMQBase
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Vision tokens are planned from a picture's size and a prompt, by shards of a run.
@Suite struct PlannedTokensTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: [
        GoldenModel("llava-next", "hub-f16"), GoldenModel("llava-1.5", "hub-f16"),
        GoldenModel("instructblip", "hub-f32"),
    ])
    func whatPreparingRefusesPlanningRefuses(_ golden: GoldenModel) throws {
        let model = try golden.open(in: folder)
        let (width, height) = (30, 20)
        let image = RGBImage(
            width: width, height: height, pixels: Array(repeating: 90, count: width * height * 3))
        func prepared(_ prompt: String) -> Result<Int, InputError> {
            Result { try model.prepare(image: image, prompt: prompt).inputIDs.count }
                .mapError { $0 as? InputError ?? InputError(.failed, file: "", "\($0)") }
        }
        func words(_ count: Int) -> String {
            "<image>\n" + Array(repeating: "a", count: count).joined(separator: " ")
        }
        // The longest prompt that fits.
        var (fits, fails) = (1, 1 << 13)
        while fails - fits > 1 {
            let middle = (fits + fails) / 2
            if case .success = prepared(words(middle)) { fits = middle } else { fails = middle }
        }
        #expect(fits > 1 && fails < 1 << 13)
        let fixed = [
            "", "Why?", "<image>", " <image> ", "a<image>b", "<image>\n<image>\nWhy?",
            "<image><image>", "<ima<image>ge>", "<image>\u{301}", "<image></s>", "<image><s><unk>",
            "<image><pad>", "<image>\u{0}é中",
        ]
        var refused = 0
        for prompt in fixed + (fits - 2...fails + 2).map(words) {
            let planned = Result {
                try model.visionTokens(
                    size: PixelSize(height: height, width: width), prompt: prompt)
            }
            switch (prepared(prompt), planned) {
            case (.success, .success(let tokens)):
                #expect(tokens > 0)
            case (.failure(let error), .failure(let other as InputError)):
                refused += 1
                #expect(other.code == error.code && other.problem == error.problem, "\(prompt)")
            case (let one, let other): Issue.record("\(prompt.prefix(40)): \(one), \(other)")
            }
        }
        #expect(refused >= 3)
    }
}
