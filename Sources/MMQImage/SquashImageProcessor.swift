import MMQBase

/// The settings of a processor that squashes every picture to one size, as InstructBLIP's
/// `BlipImageProcessor`.
public struct SquashImageConfig: Codable, Sendable, Equatable {
    /// Size of the result; the aspect ratio is not kept.
    public var size: PixelSize
    /// How samples become floats.
    public var normalization: PixelNormalization

    /// All settings, explicitly.
    public init(size: PixelSize, normalization: PixelNormalization) {
        self.size = size
        self.normalization = normalization
    }

    /// Reads the settings from the bytes of `preprocessor_config.json` or, as transformers 5 writes
    /// it, `processor_config.json` (there under "image_processor").
    ///
    /// - Parameter kind: transformers' class, which the file has to name if it names one.
    /// - Throws: ``InputError`` naming file and key: a key missing, of a wrong type or value, or
    ///   asking for what is not supported.
    public static func parse(
        json bytes: [UInt8], file: String, kind: String
    ) throws -> SquashImageConfig {
        let reader = try ImageConfigReader(json: bytes, file: file)
        try reader.requireKind(kind)
        try reader.requireBicubic()
        try reader.requireFlag("do_resize", true, default: true)
        try reader.requireFlag("do_center_crop", false, default: false)
        try reader.requireFlag("do_pad", false, default: false)
        _ = try reader.flag("do_convert_rgb", default: true)
        return SquashImageConfig(
            size: try reader.squareOrSize("size"), normalization: try reader.normalization())
    }
}

/// Turns pictures into input of one size as transformers' `BlipImageProcessor` does (its Pillow
/// path): bicubic resize without keeping the aspect ratio, rescale, normalise.
public struct SquashImageProcessor: Sendable {
    /// The settings.
    public let config: SquashImageConfig
    private let tables: [[Float]]
    private let version: Compatibility

    /// A processor with the given settings.
    ///
    /// - Throws: ``InputError`` if the settings cannot work.
    public init(config: SquashImageConfig, as version: Compatibility = .current) throws {
        guard config.size.isUsable else {
            throw InputError(
                .badValue, file: "picture settings", item: "size", expected: PixelSize.usableSides,
                found: "\(config.size.height) x \(config.size.width)")
        }
        try config.normalization.check()
        self.config = config
        self.version = version
        tables = config.normalization.tables()
    }

    /// The picture as [3, height, width] float32, row-major, red first.
    ///
    /// - Throws: ``InputError`` for a picture without pixels.
    public func process(_ image: RGBImage) throws -> [Float] {
        try image.size.requirePixels()
        let squashed = image.resizedBicubic(
            width: config.size.width, height: config.size.height, as: version)
        return PixelNormalization.planes(of: squashed, through: tables)
    }
}
