import MMQBase

/// The settings of LLaVA-Next's picture processor.
public struct LlavaNextImageConfig: Codable, Sendable, Equatable {
    /// The grids (in pixels, rows first) a picture may be laid on. Hugging Face's
    /// `image_grid_pinpoints`.
    public var gridPinpoints: [PixelSize]
    /// Hugging Face's `size`.
    public var size: ImageResize
    /// Hugging Face's `crop_size`; nil where the file has none. Its height is the side of a tile.
    public var cropSize: PixelSize?
    /// Whether each tile is resized to `size` before the crop.
    public var resizesTiles: Bool
    /// Whether each tile is cropped around its middle to `cropSize`.
    public var cropsTiles: Bool
    /// How samples become floats.
    public var normalization: PixelNormalization

    /// All settings, explicitly.
    public init(
        gridPinpoints: [PixelSize], size: ImageResize, cropSize: PixelSize?,
        resizesTiles: Bool = true, cropsTiles: Bool = true, normalization: PixelNormalization
    ) {
        self.gridPinpoints = gridPinpoints
        self.size = size
        self.cropSize = cropSize
        self.resizesTiles = resizesTiles
        self.cropsTiles = cropsTiles
        self.normalization = normalization
    }

    /// The whole picture is squashed to this size first: `size`, a square of the shortest edge.
    public var baseSize: PixelSize {
        switch size {
        case .shortestEdge(let edge): PixelSize(height: edge, width: edge)
        case .exact(let size): size
        }
    }

    /// The side of the squares a grid is cut into.
    public var tileSide: Int { cropSize?.height ?? baseSize.height }

    /// The size every tile has in the end.
    public var outputSize: PixelSize {
        if cropsTiles, let cropSize { return cropSize }
        return baseSize
    }

    /// Reads the settings from the bytes of `preprocessor_config.json` or, as transformers 5 writes
    /// it, `processor_config.json` (there under "image_processor").
    ///
    /// - Parameter kind: transformers' class, which the file has to name if it names one.
    /// - Throws: ``InputError`` naming file and key: a key missing, of a wrong type or value, or
    ///   asking for what is not supported.
    public static func parse(
        json bytes: [UInt8], file: String, kind: String
    ) throws -> LlavaNextImageConfig {
        let reader = try ImageConfigReader(json: bytes, file: file)
        try reader.requireKind(kind)
        try reader.requireBicubic()
        let crops = try reader.flag("do_center_crop", default: true)
        let config = LlavaNextImageConfig(
            gridPinpoints: try reader.pixelSizes("image_grid_pinpoints"),
            size: try reader.imageResize("size"),
            cropSize: crops || reader.has("crop_size") ? try reader.squareOrSize("crop_size") : nil,
            resizesTiles: try reader.flag("do_resize", default: true),
            cropsTiles: crops,
            normalization: try reader.normalization())
        // do_pad only fills up batches of pictures with different numbers of tiles; pictures are
        // processed one at a time here. do_convert_rgb changes nothing about an RGB picture.
        _ = try reader.flag("do_pad", default: true)
        _ = try reader.flag("do_convert_rgb", default: true)
        return config
    }
}
