import CImageCodecs

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

extension RGBImage {
    /// This picture in another size, with Pillow's bicubic filter (a = -0.5, antialiased when
    /// shrinking): equal to `Image.resize((width, height), Image.BICUBIC)` to the bit.
    ///
    /// - Parameter version: whose Pillow: before 13 tall pictures came out differently.
    /// - Precondition: this picture and the new size have at least one row and one column, and the
    ///   new samples can be counted in an `Int`.
    public func resizedBicubic(
        width newWidth: Int, height newHeight: Int, as version: Compatibility = .current
    ) -> RGBImage {
        precondition(width > 0 && height > 0 && newWidth > 0 && newHeight > 0, "an empty picture")
        if newWidth == width && newHeight == height { return self }
        var status = IMAGE_CODECS_OK
        let count = newWidth * newHeight * 3
        let resized = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            pixels.withUnsafeBufferPointer { source in
                status = image_codecs_resize_bicubic(
                    source.baseAddress, width, height, buffer.baseAddress, newWidth, newHeight,
                    version.passOrder)
            }
            initialized = count
        }
        // As everywhere in Swift, running out of memory ends the program.
        precondition(status == IMAGE_CODECS_OK, "no memory to resize a picture")
        return RGBImage(width: newWidth, height: newHeight, pixels: resized)
    }
}
