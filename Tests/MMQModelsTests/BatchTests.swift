import Foundation
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Answers decoded together come out as each alone.
@Suite struct BatchTests {
    private struct Request {
        let image: RGBImage
        let prompt: String
        let options: GenerationOptions
        let mask: NeuronMask?
    }

    /// Eight requests of different prompts, lengths, seeds and masks.
    private func requests(
        _ variant: GoldenModel, _ model: any VisionLanguageModel, temperature: Double
    ) throws -> [Request] {
        let cases = try variant.cases()
        let mask = try variant.mask(for: model)
        return (0..<8).map { number in
            let item = cases[number % cases.count]
            return Request(
                image: item.image, prompt: item.prompt,
                options: GenerationOptions(
                    sampling: SamplingOptions(temperature: temperature, seed: UInt64(number)),
                    maxTokens: [24, 9, 17, 1][number % 4], minTokens: number % 3),
                mask: number % 2 == 1 ? mask : nil)
        }
    }

    private func begin(
        _ request: Request, _ model: any VisionLanguageModel, _ observation: Observation?,
        onText: (String) -> Void
    ) throws -> RunningAnswer {
        let input = try model.prepare(image: request.image, prompt: request.prompt)
        let features = try input.imageFeatures(observation: observation)
        return try model.begin(
            input, features: features, options: request.options, observation: observation,
            onText: onText)
    }

    @Test(
        arguments: GoldenModel.all.filter { ["hub-f16", "hub-f32"].contains($0.variant) },
        [StoredType.f16, .q8_0, .q4_0, .iq4_nl])
    func eightTogetherAnswerAsEachAlone(_ variant: GoldenModel, _ type: StoredType) throws {
        let folder = try TemporaryFolder()
        let model = try variant.open(type, in: folder)
        for temperature in [0, 0.9] {
            let requests = try requests(variant, model, temperature: temperature)
            let alone = try requests.map {
                try model.generate(
                    image: $0.image, prompt: $0.prompt, options: $0.options, mask: $0.mask)
            }
            // One object for all answers under the mask, as a run over a bench has it.
            let shared = try Observation(
                modules: model.modules, counting: false, mask: variant.mask(for: model))
            var answers: [RunningAnswer] = []
            var texts = Array(repeating: "", count: requests.count)
            // Answers join while others are under way, and leave when they are complete.
            func step() throws -> Bool {
                let open = answers.indices.filter { !answers[$0].isFinished }
                try model.advance(open.map { answers[$0] }) { row, text in
                    texts[open[row]] += text
                }
                return !open.isEmpty
            }
            for (number, request) in requests.enumerated() {
                answers.append(
                    try begin(request, model, request.mask == nil ? nil : shared) {
                        texts[number] += $0
                    })
                _ = try step()
            }
            while try step() {}
            for (number, (one, other)) in zip(alone, answers).enumerated() {
                let what = "\(variant.testDescription) \(type) T=\(temperature) answer \(number)"
                #expect(other.answer.tokens == one.tokens, "\(what)")
                #expect(other.answer.text == one.text, "\(what)")
                #expect(other.answer.promptTokens == one.promptTokens)
                #expect(one.tokens.count <= requests[number].options.maxTokens)
                #expect(texts[number] == one.text, "\(what)")
            }
            // The masks and prompts do tell in the answers, else this would show nothing.
            #expect(Set(alone.map(\.tokens)).count > 3)
        }
    }

    @Test func anAnswerEndsNoEarlierThanItMay() throws {
        let folder = try TemporaryFolder()
        let variant = GoldenModel.llava
        let model = try variant.open(in: folder)
        let stop = try #require(model.stopTokens.min())
        // The stop token is better than 10, 10 better than all others.
        var logits = Array(repeating: -5 as Float, count: model.vocabularySize)
        logits[10] = 1
        logits[Int(stop)] = 3
        for (least, limit, expected) in [
            (0, 5, [stop]), (1, 5, [10, stop]), (3, 5, [10, 10, 10, stop]), (9, 3, [10, 10, 10]),
        ] {
            for temperature in [0, 0.01] {
                let running = RunningAnswer(
                    GeneratedAnswer(),
                    state: PromptState(tokens: 1, lastHidden: [], lastRows: 1, cache: nil),
                    observation: nil,
                    options: GenerationOptions(
                        sampling: SamplingOptions(temperature: temperature), minTokens: least),
                    limit: limit, stopTokens: [stop], tokenizer: model.tokenizer)
                // A row in the middle of a step's logits.
                let step = [9] + logits + [9]
                while !running.isFinished { _ = running.choose(step[1...logits.count]) }
                #expect(running.answer.tokens == expected)
            }
        }
    }
}
