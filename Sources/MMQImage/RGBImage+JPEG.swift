import CImageCodecs
import MMQBase

extension RGBImage {
    /// The bytes of a JPEG file that holds about this picture.
    ///
    /// - Parameter quality: libjpeg's, 1 to 100.
    /// - Throws: ``InputError`` for a picture without pixels, or with a side that JPEG cannot have.
    public func jpeg(quality: Int) throws -> [UInt8] {
        try PixelSize(height: height, width: width).requirePixels()
        var bytes: UnsafeMutablePointer<UInt8>?
        var count = 0
        let status = pixels.withUnsafeBufferPointer {
            image_codecs_encode_jpeg(
                $0.baseAddress, UInt32(clamping: width), UInt32(clamping: height),
                Int32(clamping: quality), &bytes, &count)
        }
        defer { image_codecs_free_bytes(bytes) }
        guard status == IMAGE_CODECS_OK, let bytes else {
            throw InputError(
                status == IMAGE_CODECS_NO_MEMORY ? .outOfMemory : .tooLarge, file: "picture",
                expected: "at most 65500 rows and columns", found: "\(width) x \(height) pixels")
        }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }
}
