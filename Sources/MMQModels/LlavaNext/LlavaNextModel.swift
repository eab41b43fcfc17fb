import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// LLaVA-Next: CLIP tower over tiles, two-layer projector, features packed into the prompt of a
/// LLaMA decoder.
public final class LlavaNextModel: VisionLanguageModel {
    /// Files, tokenizer and language model.
    public let parts: ModelParts

    private let config: LlavaNextConfig
    private let images: LlavaNextImageProcessor
    private let towers: LlavaFeatures
    private let newline: UnsafePointer<Float>

    private var vision: VisionTower { towers.vision }

    /// Opens the model of checked files.
    init(
        files: ModelFiles, config: LlavaNextConfig, images: LlavaNextImageConfig,
        tokenizer: SentencePieceTokenizer
    ) throws {
        parts = try ModelParts(
            files, tokenizer: tokenizer, imageToken: Int32(config.core.imageTokenID))
        self.config = config
        self.images = try LlavaNextImageProcessor(config: images, as: files.compatibility)
        towers = try LlavaFeatures(files, config.core)
        newline = try Weights(files).vector("model.image_newline")
    }

    /// Token ids with placeholders expanded, and pixels.
    public func prepare(image: RGBImage, prompt: String) throws -> PreparedInput {
        let tiling = try images.process(image)
        let count = try imageTokens(PixelSize(height: image.height, width: image.width))
        let packed = vision.patches + unpadded(tiling).tokenCount
        guard packed == count else {
            throw InputError(
                .badValue, file: files.vision.path, item: "picture settings: image_grid_pinpoints",
                expected: "grids of whole tiles of \(config.vision.imageSize) pixels",
                found: "a grid whose \(packed) features are not \(count) tokens")
        }
        return PreparedInput(
            inputIDs: try parts.ids(prompt, imageTokens: count), imageTokens: count,
            picture: LlavaNextInput(tiling: tiling, model: self), backend: backend)
    }

    /// Every tile's tokens.
    public func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws
        -> Int
    {
        let size = try size()
        try parts.check(prompt, imageTokens: imageTokens(size))
        return images.tileCount(of: size) * vision.tokens
    }

    private func imageTokens(_ size: PixelSize) throws -> Int {
        try images.imageTokenCount(
            width: size.width, height: size.height, patchSize: config.vision.patchSize,
            additionalTokens: 1, dropsFirstToken: true)
    }

    /// See ``LlavaNextConfig/grids(settings:side:width:height:isImage:as:)``.
    public func pictureGrids(width: Int, height: Int, isImage: [Bool]) -> [PictureGrid] {
        LlavaNextConfig.grids(
            settings: images.config, side: config.vision.patchesPerSide, width: width,
            height: height, isImage: isImage, as: files.compatibility)
    }

    /// See ``LlavaNextConfig/tileGrids(settings:side:width:height:)``.
    public func tileGrids(width: Int, height: Int) -> [PictureGrid] {
        LlavaNextConfig.tileGrids(
            settings: images.config, side: config.vision.patchesPerSide, width: width,
            height: height)
    }

    /// Runs tower and projector over tiles: [image tokens, hidden].
    func features(of tiling: TiledImage, observation: Observation?) throws -> [Float] {
        let pass = Pass(backend.workspace, observation: observation)
        let projected = try towers.apply(tiling.pixelValues, tiles: tiling.tiles, pass)
        defer { pass.did(.other) }
        return pack(projected, tiling: tiling)
    }

    /// The base tile's features, then the grid's, row by row, padding cut off and one
    /// `image_newline` at the end of each row (transformers' `pack_image_features`).
    private func pack(_ features: Rows, tiling: TiledImage) -> [Float] {
        let side = vision.patchesPerSide
        let places = packedPlaces(tiling)
        var packed: [Float] = []
        packed.reserveCapacity(places.count * features.width)
        for place in places {
            guard place.tile >= 0 else {
                packed.append(
                    contentsOf: UnsafeBufferPointer(start: newline, count: features.width))
                continue
            }
            let patch = Int(place.tile) * vision.patches + Int(place.row) * side + Int(place.column)
            packed.append(contentsOf: features[patch..<patch + 1].values)
        }
        return packed
    }

    /// Which patch each image token is; an `image_newline` is none.
    private func packedPlaces(_ tiling: TiledImage) -> [PicturePlace] {
        let side = vision.patchesPerSide
        let range = unpadded(tiling)
        var places = vision.places(tiles: 1, withClass: false)
        places.reserveCapacity(vision.patches + range.tokenCount)
        for row in range.rows {
            for column in range.columns {
                places.append(
                    PicturePlace(
                        tile: Int32(1 + row / side * tiling.gridColumns + column / side),
                        row: Int32(row % side), column: Int32(column % side)))
            }
            places.append(.none)
        }
        return places
    }

    /// Where a module's tokens lie.
    func places(of tiling: TiledImage, in role: ModuleRole) -> [PicturePlace] {
        role == .decoder ? packedPlaces(tiling) : towers.places(tiles: tiling.tiles, in: role)
    }

    /// The part of the grid's features that is picture, not padding.
    private func unpadded(_ tiling: TiledImage) -> LlavaNextGeometry.FeatureRange {
        let side = vision.patchesPerSide
        return LlavaNextGeometry.unpaddedFeatureRange(
            original: PixelSize(height: tiling.originalHeight, width: tiling.originalWidth),
            rows: tiling.gridRows * side, columns: tiling.gridColumns * side,
            as: files.compatibility)
    }
}
