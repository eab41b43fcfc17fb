import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// InstructBLIP: EVA tower over one squashed picture, a Q-Former that reads the instruction, its
/// queries projected in front of the prompt of a LLaMA decoder.
public final class InstructBLIPModel: VisionLanguageModel {
    /// Files, tokenizer and language model.
    public let parts: ModelParts

    private let config: InstructBLIPConfig
    private let images: SquashImageProcessor
    private let instructionTokenizer: WordPieceTokenizer
    private let vision: VisionTower
    private let postNorm: Norm
    private let qformer: QFormer
    private let projection: Linear

    /// Indices into `modules`.
    private enum Module { static let encoder = 1, qformer = 2, query = 3 }

    /// Opens the model of checked files.
    init(
        files: ModelFiles, config: InstructBLIPConfig, images: SquashImageConfig,
        tokenizer: SentencePieceTokenizer, instructionTokenizer: WordPieceTokenizer
    ) throws {
        self.config = config
        self.instructionTokenizer = instructionTokenizer
        self.images = try SquashImageProcessor(config: images, as: files.compatibility)
        let weights = Weights(files)
        vision = try VisionTower(weights: weights, config: config.vision, hasPreNorm: false)
        postNorm = try weights.norm("v.post_ln", epsilon: config.vision.normEpsilon)
        qformer = try QFormer(weights: weights, config: config)
        projection = try weights.linear("mm.0")
        // Older checkpoints have no token for the picture: one behind the vocabulary stands for it,
        // as where the word `<image>` in a prompt is a token of its own.
        let imageToken =
            files.compatibility == .june2024
            ? Int32(config.text.vocabularySize)
            : config.imageTokenID.map { Int32($0) } ?? tokenizer.id(of: "<image>")
                ?? Int32(config.text.vocabularySize)
        parts = try ModelParts(files, tokenizer: tokenizer, imageToken: imageToken)
    }

    /// Token ids with placeholders expanded, and pixels.
    public func prepare(image: RGBImage, prompt: String) throws -> PreparedInput {
        let pixels = try images.process(image)
        let (ids, instruction) = try ids(prompt)
        return PreparedInput(
            inputIDs: ids, imageTokens: config.queryTokens,
            picture: InstructBLIPInput(
                pixelValues: pixels,
                pixelShape: [3, config.vision.imageSize, config.vision.imageSize],
                instruction: instruction, model: self),
            backend: backend)
    }

    /// The tower's tokens, whatever the picture's size.
    public func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws
        -> Int
    {
        _ = try ids(prompt)
        return vision.tokens
    }

    /// The prompt's ids, placeholders in front, and the Q-Former's.
    private func ids(_ prompt: String) throws -> (ids: [Int32], instruction: [Int32]) {
        // The study's prompts name the picture; neither of the model's tokenizers knows the word.
        let unknown =
            files.compatibility == .june2024 ? [] : [PromptText.image + "\n", PromptText.image]
        let text = unknown.reduce(prompt) { PromptText.replacing($1, in: $0, with: "") }
        // A length left in the tokenizer's file cuts both; the queries count against the prompt's.
        let longest = tokenizer.tables.processorMaximumLength
        let instruction = instructionTokenizer.encode(
            text, addSpecialTokens: true, maximumLength: longest)
        guard instruction.count <= qformer.contextLength else {
            throw InputError.tooLong(tokens: instruction.count, context: qformer.contextLength)
        }
        let ids =
            Array(repeating: backend.imageToken, count: config.queryTokens)
            + tokenizer.encode(
                text, addSpecialTokens: true, maximumLength: longest.map { $0 - config.queryTokens }
            )
        try backend.check(ids, imageTokens: config.queryTokens)
        return (ids, instruction)
    }

    /// The picture squashed.
    public func tileGrids(width: Int, height: Int) -> [PictureGrid] {
        [PictureGrid(squashed: "the picture", side: vision.patchesPerSide)]
    }

    /// The Q-Former's.
    public var towerTokenizer: (any TextTokenizing)? { instructionTokenizer }

    /// Where a module's tokens lie: those of the tower; queries have no place, nor have the decoder's
    /// image tokens, which are the queries'.
    func places(in role: ModuleRole) -> [PicturePlace] {
        switch role {
        case .tower: vision.places(tiles: 1)
        case .queryBranch, .decoder: Array(repeating: .none, count: config.queryTokens)
        case .textBranch, .projector: []
        }
    }

    /// Runs tower, Q-Former and projection: [query tokens, hidden].
    func features(of input: InstructBLIPInput, observation: Observation?) throws -> [Float] {
        let pass = Pass(backend.workspace, observation: observation)
        let x = vision.embed(input.pixelValues, images: 1, pass)
        try vision.encoder.run(
            x, images: 1, layers: 0..<vision.encoder.layers.count, module: Module.encoder, pass)
        postNorm.apply(x, to: x, pass)
        let queries = try qformer.run(
            memory: x, text: input.instruction,
            modules: QFormer.Modules(query: Module.query, text: Module.qformer), pass)
        return Array(projection.apply(pass.operand(queries), in: .delta).values)
    }
}
