/// A picture of 8-bit red, green and blue samples.
public struct RGBImage: Sendable, Equatable {
    /// Pixels in a row.
    public let width: Int
    /// Rows.
    public let height: Int
    /// [height, width, 3], row-major.
    public var pixels: [UInt8]

    /// A picture over given samples.
    ///
    /// - Precondition: `pixels` has width × height × 3 elements.
    public init(width: Int, height: Int, pixels: [UInt8]) {
        precondition(pixels.count == width * height * 3, "an RGB picture has three samples a pixel")
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
