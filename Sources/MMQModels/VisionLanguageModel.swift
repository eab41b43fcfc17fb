import CSIMD
import MMQBase
import MMQImage
import MMQText

/// A vision-language model of any architecture: a picture and a prompt in, embeddings into one
/// shared decoder.
///
/// Not thread-safe: one pass at a time. Kernels use all threads inside.
public protocol VisionLanguageModel: CountingModel, AnyObject {
    /// Files, tokenizer and language model.
    var parts: ModelParts { get }

    /// Tokenizes `prompt` as it is and turns the picture into pixels.
    func prepare(image: RGBImage, prompt: String) throws -> PreparedInput
    /// Where image positions lie in a picture of that size; none where they have no place.
    ///
    /// - Parameter isImage: which positions of the sequence hold image tokens.
    func pictureGrids(width: Int, height: Int, isImage: [Bool]) -> [PictureGrid]
    /// Where the patches of each tile that the tower takes lie in a picture of that size, in the
    /// tiles' order; `first` says nothing. None where they have no place.
    func tileGrids(width: Int, height: Int) -> [PictureGrid]
    /// The tokenizer of what the towers read beside the picture, if they read.
    var towerTokenizer: (any TextTokenizing)? { get }
}

extension VisionLanguageModel {
    /// What is true of every model of this kind.
    public var architecture: any Architecture { files.model.architecture }
    /// The module whose tokens count as vision tokens.
    public var visionModule: String { architecture.visionModule }
    /// The decoder's module.
    public var decoderModule: ModuleShape { modules[backend.module] }

    /// Image tokens without places.
    public func pictureGrids(width: Int, height: Int, isImage: [Bool]) -> [PictureGrid] { [] }
    /// Patches without places.
    public func tileGrids(width: Int, height: Int) -> [PictureGrid] { [] }
    /// Towers that see and do not read.
    public var towerTokenizer: (any TextTokenizing)? { nil }

    /// Positions that the language model was made for.
    public var contextLength: Int { backend.contextLength }
    /// The id that stands for one image token in `PreparedInput.inputIDs`.
    public var imageToken: Int32 { backend.imageToken }
    /// Rows of the head: the length of a row of logits.
    public var vocabularySize: Int { backend.decoder.vocabularySize }
    /// What the language model's products with weights cost.
    public var decodingCost: DecodingCost { backend.decoder.cost }
    /// The language model's file, mapped: what decoding streams through.
    public var languageFile: UnsafeRawBufferPointer { files.language.bytes }

    /// Runs the decoder over a prompt whose placeholders are filled with `features`.
    ///
    /// - Parameters:
    ///   - keepsCache: positions to keep keys and values for, to go on from; nil keeps none.
    ///   - inputs: gets what goes into the decoder's products.
    ///   - partial: gets every layer's index and what its attention, then its MLP adds.
    ///   - after: gets every layer's index and output [tokens, hidden] as soon as it is there.
    public func run(
        _ input: PreparedInput, features: [Float], observation: Observation?, keepsCache: Int?,
        inputs: InputStatistics? = nil, partial: LayerPart.Observer? = nil,
        after: (_ layer: Int, _ hidden: UnsafeBufferPointer<Float>) throws -> Void
    ) throws -> PromptState {
        try requireFinite(features, "the picture's features")
        return try backend.run(
            input, features: features, observation: observation, keepsCache: keepsCache,
            inputs: inputs, partial: partial
        ) { layer, hidden in
            if layer == decoderModule.layers - 1 {
                try requireFinite(hidden, "the last layer's output")
            }
            try after(layer, hidden)
        }
    }

    /// Logits [rows, vocabulary] of hidden states [rows, hidden] that a layer put out:
    /// head(norm(hidden)).
    public func logits(of hidden: UnsafeBufferPointer<Float>, rows: Int) throws -> [Float] {
        let logits = backend.logits(of: hidden, rows: rows)
        try requireFinite(logits, "the logits")
        return logits
    }

    /// One decoding step of several answers: the next token of each in, its logits out,
    /// [answers, vocabulary] one after the other.
    public func step(_ tokens: [Int32], states: [PromptState], observations: [Observation?]) throws
        -> [Float]
    {
        let logits = try backend.step(tokens, states: states, observations: observations)
        try requireFinite(logits, "the logits")
        return logits
    }
}

/// What a pass over a prompt leaves behind: its last hidden states, and a cache to go on from.
public final class PromptState {
    /// Tokens of the prompt.
    public let tokens: Int
    /// Outputs of the last decoder layer for the last rows, [rows, hidden], at most four rows.
    public let lastHidden: [Float]
    /// How many rows `lastHidden` has.
    public let lastRows: Int
    let cache: KVCache?

    init(tokens: Int, lastHidden: [Float], lastRows: Int, cache: KVCache?) {
        self.tokens = tokens
        self.lastHidden = lastHidden
        self.lastRows = lastRows
        self.cache = cache
    }
}

/// The part that all architectures share: a decoder behind embeddings, and its scratch memory.
public final class LanguageBackend {
    let decoder: LlamaDecoder
    let workspace: Workspace
    let imageToken: Int32
    /// The index of the decoder among the model's modules.
    let module: Int
    let contextLength: Int

    init(
        decoder: LlamaDecoder, imageToken: Int32, module: Int, contextLength: Int,
        activations: Activations
    ) {
        self.decoder = decoder
        workspace = Workspace(activations: activations)
        self.imageToken = imageToken
        self.module = module
        self.contextLength = contextLength
    }

    /// Checks ids against the embedding table and the context.
    func check(_ ids: [Int32], imageTokens: Int) throws {
        guard ids.count <= contextLength else {
            throw InputError.tooLong(tokens: ids.count, context: contextLength)
        }
        for id in ids where id != imageToken {
            guard id >= 0, Int(id) < decoder.vocabularySize else {
                throw InputError.prompt(
                    "token \(id) is outside the vocabulary of \(decoder.vocabularySize)")
            }
        }
        let placeholders = ids.count { $0 == imageToken }
        guard placeholders == imageTokens else {
            throw InputError.prompt(
                "\(placeholders) image placeholders for \(imageTokens) image features")
        }
    }

    func run(
        _ input: PreparedInput, features: [Float], observation: Observation?, keepsCache: Int?,
        inputs: InputStatistics? = nil, partial: LayerPart.Observer?,
        after: (Int, UnsafeBufferPointer<Float>) throws -> Void
    ) throws -> PromptState {
        guard input.backend === self else {
            throw InputError.prompt("the input was prepared by another model")
        }
        precondition(features.count == input.imageTokens * decoder.hiddenSize)
        let pass = Pass(workspace, observation: observation, inputs: inputs)
        let x = embed(input.inputIDs, features: features, pass)
        let cache = try keepsCache.map { try decoder.makeCache(capacity: $0) }
        try decoder.prefill(x, cache: cache, module: module, pass, partial: partial) { layer in
            try after(layer, x.values)
        }
        let rows = min(4, x.count)
        return PromptState(
            tokens: x.count, lastHidden: Array(x[x.count - rows..<x.count].values),
            lastRows: rows, cache: cache)
    }

    /// Embeddings of an input's tokens, [tokens, hidden]; valid until the next pass.
    func embedded(_ input: PreparedInput, features: [Float]) throws -> Rows {
        guard input.backend === self else {
            throw InputError.prompt("the input was prepared by another model")
        }
        precondition(features.count == input.imageTokens * decoder.hiddenSize)
        return embed(input.inputIDs, features: features, Pass(workspace))
    }

    /// Embeddings of tokens [tokens, hidden], in `.stream`: a placeholder takes the next row of
    /// `features` [image tokens, hidden], if there are any.
    private func embed(_ ids: [Int32], features: [Float]?, _ pass: Pass) -> Rows {
        let hidden = decoder.hiddenSize
        let x = pass.rows(.stream, ids.count, hidden)
        var next = 0
        for (row, id) in ids.enumerated() {
            if id == imageToken, let features {
                let feature = features[next..<next + hidden]
                _ = UnsafeMutableBufferPointer(start: x[row], count: hidden)
                    .update(fromContentsOf: feature)
                next += hidden
            } else {
                decoder.embed(id, to: x[row])
            }
        }
        pass.did(.embedding)
        return x
    }

    /// Logits [rows, vocabulary] by the same kernel whatever the number of rows.
    func logits(of hidden: UnsafeBufferPointer<Float>, rows: Int) -> [Float] {
        precondition(hidden.count == rows * decoder.hiddenSize)
        guard let base = hidden.baseAddress else { return [] }
        return [Float](unsafeUninitializedCapacity: rows * decoder.vocabularySize) {
            buffer, count in
            if let target = buffer.baseAddress {
                decoder.logits(
                    Rows(reading: base, count: rows, width: decoder.hiddenSize), to: target,
                    Pass(workspace))
                count = rows * decoder.vocabularySize
            }
        }
    }

    func step(_ tokens: [Int32], states: [PromptState], observations: [Observation?]) throws
        -> [Float]
    {
        let caches = try states.map { state in
            guard let cache = state.cache else {
                throw InputError.prompt("the pass over the prompt kept no cache to go on from")
            }
            guard cache.count < cache.capacity else {
                throw InputError.tooLong(tokens: cache.count + 1, context: cache.capacity)
            }
            return cache
        }
        let pass = Pass(workspace, stepOf: observations)
        let x = embed(tokens, features: nil, pass)
        try decoder.step(x, caches: caches, module: module, pass)
        let size = tokens.count * decoder.vocabularySize
        return [Float](unsafeUninitializedCapacity: size) { buffer, count in
            if let target = buffer.baseAddress {
                decoder.logits(x, to: target, pass)
                count = size
            }
        }
    }
}

extension VisionLanguageModel {
    /// One counting pass. Every row of every layer runs, unused layers of the towers included.
    public func count(
        image: RGBImage, prompt: String, moments: MomentRequest?
    ) throws -> SampleCounts {
        let input = try prepare(image: image, prompt: prompt)
        let observation = Observation(
            modules: modules, counting: true,
            split: .init(module: backend.module, isImage: imagePositions(input)), moments: moments)
        let features = try input.imageFeatures(observation: observation)
        _ = try run(
            input, features: features, observation: observation, keepsCache: nil,
            after: { _, _ in })
        let text = Set(architecture.modules.filter { $0.role == .textBranch }.map(\.name))
        let counts = try finite(observation.counts()).map { entry in
            guard entry.positions == .all else { return entry }
            var entry = entry
            entry.positions = text.contains(entry.shape.name) ? .text : .image
            return entry
        }
        return SampleCounts(counts: counts, moments: observation.moments)
    }
}
