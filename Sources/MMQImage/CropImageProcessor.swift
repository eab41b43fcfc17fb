import MMQBase

/// The settings of a processor that resizes every picture and keeps its middle, as `CLIPImageProcessor`.
public struct CropImageConfig: Codable, Sendable, Equatable {
    /// Hugging Face's `size`; nil where pictures are not resized.
    public var resize: ImageResize?
    /// Hugging Face's `crop_size`; nil where pictures are not cropped.
    public var crop: PixelSize?
    /// How samples become floats.
    public var normalization: PixelNormalization
    /// The size that every picture has in the end.
    public let outputSize: PixelSize

    /// Reads the settings from the bytes of `preprocessor_config.json` or, as transformers 5 writes
    /// it, `processor_config.json` (there under "image_processor").
    ///
    /// - Parameter kind: transformers' class, which the file has to name if it names one.
    /// - Throws: ``InputError`` naming file and key: a key missing, of a wrong type or value, or
    ///   asking for what is not supported, as pictures of more than one size.
    public static func parse(
        json bytes: [UInt8], file: String, kind: String
    ) throws -> CropImageConfig {
        let reader = try ImageConfigReader(json: bytes, file: file)
        try reader.requireKind(kind)
        try reader.requireBicubic()
        try reader.requireFlag("do_pad", false, default: false)
        _ = try reader.flag("do_convert_rgb", default: true)
        let resize =
            try reader.flag("do_resize", default: true) ? try reader.imageResize("size") : nil
        let crop =
            try reader.flag("do_center_crop", default: true)
            ? try reader.squareOrSize("crop_size") : nil
        let normalization = try reader.normalization()
        if let crop {
            return CropImageConfig(
                resize: resize, crop: crop, normalization: normalization, outputSize: crop)
        }
        guard case .exact(let size) = resize else {
            throw InputError(
                .unsupported, file: file, item: "do_center_crop",
                expected: "true, or a size of height and width", found: "pictures of any size")
        }
        return CropImageConfig(
            resize: resize, crop: nil, normalization: normalization, outputSize: size)
    }
}

/// Turns pictures into input of one size as transformers' `CLIPImageProcessor` does (its Pillow path):
/// bicubic resize, crop around the middle, rescale, normalise.
public struct CropImageProcessor: Sendable {
    /// The settings.
    public let config: CropImageConfig
    private let tables: [[Float]]
    private let version: Compatibility

    /// A processor with the given settings.
    ///
    /// - Throws: ``InputError`` if the settings cannot work.
    public init(config: CropImageConfig, as version: Compatibility = .current) throws {
        try config.normalization.check()
        var sizes = [("crop_size", config.outputSize)]
        if case .exact(let size) = config.resize { sizes.append(("size", size)) }
        for (key, size) in sizes {
            guard size.isUsable, size.area <= RGBImage.maximumPixels else {
                throw InputError(
                    .badValue, file: "picture settings", item: key,
                    expected: "\(PixelSize.usableSides), at most \(RGBImage.maximumPixels) pixels",
                    found: "\(size)")
            }
        }
        self.config = config
        self.version = version
        tables = config.normalization.tables()
    }

    /// The size that a picture is resized to before it is cropped.
    ///
    /// - Throws: ``InputError`` for a picture without pixels, or one so long that its resized form
    ///   would not fit into memory.
    public func resizedSize(of picture: PixelSize) throws -> PixelSize {
        try picture.requirePixels()
        guard let resize = config.resize else { return picture }
        // Division before the product: a side may be anything that fits an Int.
        if case .shortestEdge(let edge) = resize {
            let short = min(picture.height, picture.width)
            let long = max(picture.height, picture.width)
            guard long / short < RGBImage.maximumPixels / (edge * edge) else {
                throw InputError(
                    .tooLarge, file: "picture",
                    expected: "at most \(RGBImage.maximumPixels) pixels where the shorter side has "
                        + "\(edge)",
                    found: "\(picture.width) x \(picture.height) pixels")
            }
        }
        return resize.resized(picture)
    }

    /// The picture as [3, height, width] float32, row-major, red first.
    ///
    /// - Throws: ``InputError``, as ``resizedSize(of:)``.
    public func process(_ image: RGBImage) throws -> [Float] {
        _ = try resizedSize(of: image.size)
        return PixelNormalization.planes(
            of: image.resized(config.resize, croppedTo: config.crop, as: version), through: tables)
    }
}
