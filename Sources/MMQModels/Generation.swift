import Foundation
import MMQImage
import MMQText

/// What an answer may be.
public struct GenerationOptions: Sendable {
    /// How tokens are chosen.
    public var sampling: SamplingOptions
    /// Most tokens of an answer.
    public var maxTokens: Int
    /// Fewest tokens before one may end the answer; that one is not counted.
    public var minTokens: Int
    /// How many of the most probable tokens are told for each that is chosen; 0 for none.
    public var candidates: Int

    /// Greedy, up to 256 tokens.
    public init(
        sampling: SamplingOptions = SamplingOptions(), maxTokens: Int = 256, minTokens: Int = 0,
        candidates: Int = 0
    ) {
        self.sampling = sampling
        self.maxTokens = maxTokens
        self.minTokens = minTokens
        self.candidates = candidates
    }
}

/// A token and its probability: the softmax of the logits as the model gave them, whatever the
/// sampling.
public struct TokenCandidate: Sendable, Equatable {
    /// The token.
    public let id: Int32
    /// Its probability.
    public let probability: Double

    /// The most probable tokens of a row of logits, of equal ones the lower id first.
    ///
    /// - Parameters:
    ///   - logits: [vocabulary]; NaN stands for -infinity.
    ///   - count: how many.
    static func best(_ logits: ArraySlice<Float>, count: Int) -> [TokenCandidate] {
        let greatest = logits.reduce(-Float.infinity) { $1 > $0 ? $1 : $0 }
        guard greatest.isFinite else { return [] }
        let total = logits.reduce(0.0) { $1.isNaN ? $0 : $0 + exp(Double($1 - greatest)) }
        var best: [(id: Int32, logit: Float)] = []
        for (id, logit) in logits.enumerated() where !logit.isNaN {
            if best.count == count {
                guard let last = best.last, logit > last.logit else { continue }
                best.removeLast()
            }
            var place = best.count
            while place > 0, best[place - 1].logit < logit { place -= 1 }
            best.insert((Int32(id), logit), at: place)
        }
        return best.map { .init(id: $0.id, probability: exp(Double($0.logit - greatest)) / total) }
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
    /// See `visionSeconds`. Of answers decoded together, each has the whole of their common steps.
    public var decodeSeconds = 0.0
}

/// How far an answer has come.
public enum AnswerStep {
    /// Pixels and token ids are there.
    case prepared(PreparedInput)
    /// The towers have seen the picture.
    case seen
    /// The prompt is through a layer of the decoder.
    case layer(Int)
    /// What the next token is chosen from, if the options ask for it: the most probable first.
    case candidates([TokenCandidate])
    /// The prompt is through the decoder; what was kept of its layers, if that was asked for.
    case kept(HiddenStates)
    /// A token was chosen; with the text that became complete with it, perhaps none.
    case token(Int32, String)
}

/// An answer under way: its prompt's keys and values, and the tokens chosen so far.
///
/// Answers under way are independent: any of them may take a step together, in any order, and each
/// comes out as if it were alone.
public final class RunningAnswer {
    /// What there is of the answer.
    public private(set) var answer: GeneratedAnswer
    /// Whether it is complete.
    public private(set) var isFinished = false
    /// What the last token was chosen from, the most probable first, as many as the options ask for.
    public private(set) var candidates: [TokenCandidate] = []

    let state: PromptState
    let observation: Observation?
    private let options: GenerationOptions
    private let limit: Int
    private let stopTokens: Set<Int32>
    private var sampler: Sampler
    private var decoder: StreamingDecoder

    init(
        _ answer: GeneratedAnswer, state: PromptState, observation: Observation?,
        options: GenerationOptions, limit: Int, stopTokens: Set<Int32>,
        tokenizer: SentencePieceTokenizer
    ) {
        self.answer = answer
        self.state = state
        self.observation = observation
        self.options = options
        self.limit = limit
        self.stopTokens = stopTokens
        sampler = Sampler(options.sampling)
        decoder = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        isFinished = limit == 0
    }

    /// The token that the next step takes in.
    var last: Int32 { answer.tokens.last ?? 0 }

    /// Takes the logits [vocabulary] behind the last token, chooses the next and gives the text
    /// that became complete with it.
    func choose(_ logits: ArraySlice<Float>) -> String {
        var logits = logits
        if answer.tokens.count < options.minTokens {
            for stop in stopTokens where (0..<logits.count).contains(Int(stop)) {
                logits[logits.startIndex + Int(stop)] = -.infinity
            }
        }
        if options.candidates > 0 {
            candidates = TokenCandidate.best(logits, count: options.candidates)
        }
        let token = sampler.next(logits)
        answer.tokens.append(token)
        var text = ""
        if stopTokens.contains(token) {
            isFinished = true
        } else {
            text = decoder.push(token)
            isFinished = answer.tokens.count >= limit
        }
        if isFinished { text += decoder.finish() }
        answer.text += text
        return text
    }

    func spent(decoding seconds: Double) { answer.decodeSeconds += seconds }
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
        try generate(image: image, prompt: prompt, options: options, mask: mask, tap: nil) {
            if case .token(_, let text) = $0, !text.isEmpty { onText(text) }
        }
    }

    /// The same, followed step by step.
    ///
    /// - Parameters:
    ///   - tap: gets activations of the towers, the prompt and every token of the answer that is
    ///     run: all but the last.
    ///   - part: what of each layer to keep of the prompt's pass, for `lens(of:)`; nil keeps nothing.
    ///   - follow: told how far the work has come; what it throws ends it.
    public func generate(
        image: RGBImage, prompt: String, options: GenerationOptions, mask: NeuronMask? = nil,
        tap: ActivationTap?, keeping part: LayerPart? = nil, follow: (AnswerStep) throws -> Void
    ) throws -> GeneratedAnswer {
        let clock = ContinuousClock()
        let observation =
            mask == nil && tap == nil
            ? nil : Observation(modules: modules, counting: false, mask: mask, tap: tap)
        let start = clock.now
        let input = try prepare(image: image, prompt: prompt)
        try follow(.prepared(input))
        let features = try input.imageFeatures(observation: observation)
        try tap?.check()
        try follow(.seen)
        let visionSeconds = clock.seconds(since: start)
        var pieces = ""
        var states = try part.map { try emptyStates(input, part: $0) }
        let running = try begin(
            input, features: features, options: options, observation: observation, keeping: states,
            onText: { pieces = $0 }
        ) { layer in
            try tap?.check()
            try follow(.layer(layer))
        }
        if let kept = states { try follow(.kept(kept)) }
        states = nil  // gigabytes, for a large picture
        func tell() throws {
            if options.candidates > 0 { try follow(.candidates(running.candidates)) }
            try follow(.token(running.last, pieces))
        }
        if !running.answer.tokens.isEmpty { try tell() }
        while !running.isFinished {
            pieces = ""
            try advance([running]) { pieces = $1 }
            try tap?.check()
            try tell()
        }
        var answer = running.answer
        answer.visionSeconds = visionSeconds
        return answer
    }

    /// Runs a prompt and chooses the answer's first token.
    ///
    /// The cache has room for the prompt and the longest answer that `options` allow, no more.
    ///
    /// - Parameters:
    ///   - features: what `imageFeatures` gave for this input, or for one with the same picture
    ///     under a mask with the same neurons of the towers.
    ///   - observation: neurons that are off in the decoder; one object may serve many answers.
    ///   - states: gets what its part of every layer puts out.
    ///   - onText: gets the text of the first token, if it makes any.
    ///   - after: gets every decoder layer's index when the prompt is through it.
    public func begin(
        _ input: PreparedInput, features: [Float], options: GenerationOptions,
        observation: Observation? = nil, keeping states: HiddenStates? = nil,
        onText: (String) -> Void = { _ in }, after: (_ layer: Int) throws -> Void = { _ in }
    ) throws -> RunningAnswer {
        let clock = ContinuousClock()
        let start = clock.now
        let room = contextLength - input.inputIDs.count
        let limit = max(0, min(options.maxTokens, room))
        let last = backend.decoder.layers.count - 1
        let partial: LayerPart.Observer? = states.map { states in { states.take($1, $2) } }
        // The last token chosen is never run, so its keys and values need no room.
        let state = try run(
            input, features: features, observation: observation,
            keepsCache: input.inputIDs.count + max(0, limit - 1), partial: partial
        ) { layer, x in
            states?.take(x, isLast: layer == last)
            try after(layer)
        }
        var answer = GeneratedAnswer()
        answer.promptTokens = input.inputIDs.count
        answer.imageTokens = input.imageTokens
        let logits = limit > 0 ? try lastLogits(state) : []
        answer.prefillSeconds = clock.seconds(since: start)
        let running = RunningAnswer(
            answer, state: state, observation: observation, options: options, limit: limit,
            stopTokens: stopTokens, tokenizer: tokenizer)
        if limit > 0 {
            let text = running.choose(logits[...])
            if !text.isEmpty { onText(text) }
        }
        return running
    }

    /// One decoding step of several answers together: each weight is read once for all of them.
    /// They may be under different masks.
    ///
    /// - Parameters:
    ///   - answers: answers of this model that are not finished.
    ///   - onText: gets an answer's index and the text that became complete.
    public func advance(
        _ answers: [RunningAnswer], onText: (Int, String) -> Void = { _, _ in }
    ) throws {
        precondition(!answers.contains { $0.isFinished }, "a finished answer takes no step")
        guard !answers.isEmpty else { return }
        let clock = ContinuousClock()
        let start = clock.now
        let logits = try step(
            answers.map(\.last), states: answers.map(\.state),
            observations: answers.map(\.observation))
        for (row, running) in answers.enumerated() {
            let text = running.choose(
                logits[row * vocabularySize..<(row + 1) * vocabularySize])
            if !text.isEmpty { onText(row, text) }
        }
        let seconds = clock.seconds(since: start)
        for running in answers { running.spent(decoding: seconds) }
    }

    /// Logits [vocabulary] behind the last token of a prompt.
    public func lastLogits(_ state: PromptState) throws -> [Float] {
        let hidden = state.lastHidden.count / state.lastRows
        return try state.lastHidden.suffix(hidden).withContiguousStorageIfAvailable {
            try logits(of: $0, rows: 1)
        } ?? []
    }
}
