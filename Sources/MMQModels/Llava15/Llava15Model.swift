import MMQFormats
import MMQImage
import MMQText

/// LLaVA-1.5: CLIP tower over the middle of the picture, two-layer projector, features in the place of
/// the picture in the prompt of a LLaMA decoder.
public final class Llava15Model: VisionLanguageModel {
    /// Files, tokenizer and language model.
    public let parts: ModelParts

    private let images: CropImageProcessor
    private let towers: LlavaFeatures

    /// Opens the model of checked files.
    init(
        files: ModelFiles, config: LlavaCore, images: CropImageConfig,
        tokenizer: SentencePieceTokenizer
    ) throws {
        parts = try ModelParts(files, tokenizer: tokenizer, imageToken: Int32(config.imageTokenID))
        self.images = try CropImageProcessor(config: images, as: files.compatibility)
        towers = try LlavaFeatures(files, config)
    }

    /// Token ids with placeholders expanded, and pixels.
    public func prepare(image: RGBImage, prompt: String) throws -> PreparedInput {
        let pixels = try images.process(image)
        let count = towers.tokensPerTile
        return PreparedInput(
            inputIDs: try parts.ids(prompt, imageTokens: count), imageTokens: count,
            picture: Llava15Input(
                pixelValues: pixels,
                pixelShape: [3, images.config.outputSize.height, images.config.outputSize.width],
                model: self),
            backend: backend)
    }

    /// The tower's tokens, whatever the picture's size.
    public func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws
        -> Int
    {
        _ = try images.resizedSize(of: size())
        try parts.check(prompt, imageTokens: towers.tokensPerTile)
        return towers.vision.tokens
    }

    /// The patches of the middle; with `full`, the class token before them has no place.
    public func pictureGrids(width: Int, height: Int, isImage: [Bool]) -> [PictureGrid] {
        guard let first = isImage.firstIndex(of: true) else { return [] }
        return tileGrids(width: width, height: height).map {
            $0.beginning(at: first + towers.firstPatch)
        }
    }

    /// The patches of the middle.
    public func tileGrids(width: Int, height: Int) -> [PictureGrid] {
        let side = towers.vision.patchesPerSide
        guard let resized = try? images.resizedSize(of: PixelSize(height: height, width: width))
        else { return [] }
        let (wide, high) = (Double(resized.width), Double(resized.height))
        let crop = images.config.outputSize
        // What a crop leaves out above and to the left is rounded down, below 0 for what it adds.
        let left = Double((resized.width - crop.width) >> 1)
        let top = Double((resized.height - crop.height) >> 1)
        let patch = Double(towers.vision.patchSize)
        return [
            PictureGrid(
                name: "middle", rows: side, columns: side, first: 0, hasRowEnds: false,
                x: left / wide, y: top / high, cellWidth: patch / wide, cellHeight: patch / high)
        ]
    }

    /// Where a module's tokens lie; the decoder's image tokens are the projector's.
    func places(in role: ModuleRole) -> [PicturePlace] { towers.places(tiles: 1, in: role) }

    /// Runs tower and projector: [image tokens, hidden].
    func features(of pixels: [Float], observation: Observation?) throws -> [Float] {
        let pass = Pass(backend.workspace, observation: observation)
        return Array(try towers.apply(pixels, tiles: 1, pass).values)
    }
}

/// A picture as LLaVA-1.5's tower takes it.
struct Llava15Input: TowerInput {
    let pixelValues: [Float]
    let pixelShape: [Int]
    let model: Llava15Model

    func places(in role: ModuleRole) -> [PicturePlace] { model.places(in: role) }

    func features(observation: Observation?) throws -> [Float] {
        try model.features(of: pixelValues, observation: observation)
    }
}
