import Foundation
import MMQImage
import MMQText

/// What an answer may be.
public struct GenerationOptions: Sendable {
    /// How tokens are chosen.
    public var sampling: SamplingOptions
    /// Most tokens of an answer.
    public var maxTokens: Int

    /// Greedy, up to 256 tokens.
    public init(sampling: SamplingOptions = SamplingOptions(), maxTokens: Int = 256) {
        self.sampling = sampling
        self.maxTokens = maxTokens
    }
}

/// An answer and what it took.
public struct GeneratedAnswer: Sendable {
    /// The tokens, the one that ended the answer included.
    public var tokens: [Int32] = []
    /// The tokens decoded, special ones left out.
    public var text = ""
    /// Tokens of the prompt, image tokens included.
    public var promptTokens = 0
    /// Image tokens among them.
    public var imageTokens = 0
    /// Seconds for pixels and towers, for the prompt's pass through the decoder, and for decoding.
    public var visionSeconds = 0.0
    /// See `visionSeconds`.
    public var prefillSeconds = 0.0
    /// See `visionSeconds`.
    public var decodeSeconds = 0.0
}

extension VisionLanguageModel {
    /// Answers a prompt about a picture.
    ///
    /// - Parameters:
    ///   - prompt: goes to the tokenizer as it is; put `template` round a user's words.
    ///   - mask: neurons that are off, in the towers and in every pass of the decoder.
    ///   - onText: gets the answer's text piece by piece, never half a character.
    public func generate(
        image: RGBImage, prompt: String, options: GenerationOptions, mask: NeuronMask? = nil,
        onText: (String) -> Void = { _ in }
    ) throws -> GeneratedAnswer {
        let clock = ContinuousClock()
        var answer = GeneratedAnswer()
        let observation = mask.map { Observation(modules: modules, counting: false, mask: $0) }
        var start = clock.now
        let input = try prepare(image: image, prompt: prompt)
        let features = try imageFeatures(input, observation: observation)
        answer.visionSeconds = clock.seconds(since: start)
        answer.promptTokens = input.inputIDs.count
        answer.imageTokens = input.imageTokens

        start = clock.now
        let room = contextLength - input.inputIDs.count
        let limit = max(0, min(options.maxTokens, room))
        let state = try run(
            input, features: features, observation: observation,
            keepsCache: input.inputIDs.count + limit, after: { _, _ in })
        var logits = lastLogits(state)
        answer.prefillSeconds = clock.seconds(since: start)

        start = clock.now
        var sampler = Sampler(options.sampling)
        var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        while answer.tokens.count < limit {
            let token = sampler.next(logits)
            answer.tokens.append(token)
            if stopTokens.contains(token) { break }
            let piece = decoder.push(token)
            if !piece.isEmpty {
                answer.text += piece
                onText(piece)
            }
            if answer.tokens.count == limit { break }
            logits = try step([token], states: [state], observations: [observation])
        }
        let rest = decoder.finish()
        if !rest.isEmpty {
            answer.text += rest
            onText(rest)
        }
        answer.decodeSeconds = clock.seconds(since: start)
        return answer
    }

    /// Logits [vocabulary] behind the last token of a prompt.
    public func lastLogits(_ state: PromptState) -> [Float] {
        let hidden = state.lastHidden.count / state.lastRows
        return state.lastHidden.suffix(hidden).withContiguousStorageIfAvailable {
            logits(of: $0, rows: 1)
        } ?? []
    }
}

extension ContinuousClock {
    /// Seconds since `start`.
    public func seconds(since start: Instant) -> Double {
        let elapsed = start.duration(to: now).components
        return Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
    }
}
