import MMQBase

/// How 8-bit samples become network input: `x * rescaleFactor`, then `(x - mean) / std`.
public struct PixelNormalization: Codable, Sendable, Equatable {
    /// The factor for samples (1/255), or nil to leave them 0...255.
    public var rescaleFactor: Double?
    /// Mean of each channel after rescaling, red first; nil for no normalisation.
    public var mean: [Double]?
    /// Standard deviation of each channel after rescaling, red first; nil with `mean`.
    public var std: [Double]?

    /// Constants as they stand in the processor's file.
    ///
    /// - Precondition: mean and std are both nil or both have three elements.
    public init(rescaleFactor: Double?, mean: [Double]?, std: [Double]?) {
        precondition((mean?.count ?? 3) == 3 && (std?.count ?? 3) == 3, "three channels")
        precondition((mean == nil) == (std == nil), "mean and std go together")
        self.rescaleFactor = rescaleFactor
        self.mean = mean
        self.std = std
    }

    /// Checks what may have come from a file: three channels, and no division by zero.
    func check() throws {
        for (key, values) in [("image_mean", mean), ("image_std", std)] {
            guard let values else { continue }
            guard values.count == 3 else {
                throw InputError(
                    .badValue, file: "picture settings", item: key, expected: "three numbers",
                    found: "\(values.count)")
            }
        }
        guard (mean == nil) == (std == nil) else {
            throw InputError(
                .badValue, file: "picture settings", item: "image_std",
                expected: "both image_mean and image_std, or none", found: "only one of them")
        }
        if let std, let index = std.firstIndex(where: { Float($0) == 0 }) {
            throw InputError(
                .badValue, file: "picture settings", item: "image_std[\(index)]",
                expected: "not zero", found: "\(std[index])")
        }
    }

    /// The value of each sample in each channel, [3][256].
    ///
    /// In transformers' order of operations, so that results are equal to the bit: the product in
    /// double, rounded to float32; mean and std rounded to float32; difference and quotient in
    /// float32.
    func tables() -> [[Float]] {
        (0..<3).map { channel in
            (0..<256).map { sample in
                var value = Float(sample)
                if let rescaleFactor { value = Float(Double(sample) * rescaleFactor) }
                if let mean, let std {
                    value = (value - Float(mean[channel])) / Float(std[channel])
                }
                return value
            }
        }
    }

    /// A picture as float32 planes, [3, height, width].
    static func planes(of image: RGBImage, through tables: [[Float]]) -> [Float] {
        let count = 3 * image.height * image.width
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            write(
                image, through: tables,
                to: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// Writes a picture as float32 planes, [3, height, width], to `output`.
    static func write(
        _ image: RGBImage, through tables: [[Float]], to output: UnsafeMutableBufferPointer<Float>
    ) {
        let plane = image.width * image.height
        precondition(output.count == 3 * plane)
        image.pixels.withUnsafeBufferPointer { pixels in
            for channel in 0..<3 {
                tables[channel].withUnsafeBufferPointer { table in
                    for index in 0..<plane {
                        output[channel * plane + index] = table[Int(pixels[3 * index + channel])]
                    }
                }
            }
        }
    }
}
