import CImageCodecs
import Foundation
import MMQBase

extension RGBImage {
    /// The most pixels a file may have: Pillow's limit for decompression bombs
    /// (2 × `MAX_IMAGE_PIXELS`).
    public static let maximumPixels = 178_956_970

    /// Reads a JPEG or PNG file, as Pillow's `Image.open(path).convert("RGB")` does: alpha dropped,
    /// EXIF orientation and colour profiles left alone.
    ///
    /// - Throws: ``InputError`` naming the file: unreadable, no picture, a format not read here, cut
    ///   short, broken, empty, or of more than ``maximumPixels``.
    public static func decode(path: String) throws -> RGBImage {
        let file = try InputFile(path: path)
        // What is no picture is refused by its first bytes, however long it is. The rest is
        // read, not mapped: a mapped file that another program shortens would end this one.
        let head = try file.bytes(at: 0, count: min(file.count, PictureFormat.telltaleBytes))
        _ = try head.withUnsafeBytes { try PictureFormat.recognize($0, name: path) }
        return try file.bytes(at: 0, count: file.count).withUnsafeBytes {
            try decode(bytes: $0, name: path)
        }
    }

    /// Reads a JPEG or PNG from memory; `name` stands for the file in errors.
    ///
    /// - Throws: ``InputError``, as ``decode(path:)``.
    public static func decode(bytes: UnsafeRawBufferPointer, name: String) throws -> RGBImage {
        let format = try PictureFormat.recognize(bytes, name: name)
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var picture = image_codecs_picture()
        defer { image_codecs_free(&picture) }
        let limit = UInt64(maximumPixels)
        let status =
            switch format {
            case .jpeg: image_codecs_decode_jpeg(start, bytes.count, limit, &picture)
            case .png: image_codecs_decode_png(start, bytes.count, limit, &picture)
            }
        guard status == IMAGE_CODECS_OK, let pixels = picture.pixels else {
            throw failure(status, picture, format: format, name: name)
        }
        let width = Int(picture.width)
        let height = Int(picture.height)
        let samples = UnsafeBufferPointer(start: pixels, count: width * height * 3)
        return RGBImage(width: width, height: height, pixels: Array(samples))
    }

    private static func failure(
        _ status: image_codecs_status, _ picture: image_codecs_picture, format: PictureFormat,
        name: String
    ) -> InputError {
        let message = withUnsafeBytes(of: picture.message) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let code: InputError.Code
        var expected: String?
        switch status {
        case IMAGE_CODECS_TRUNCATED:
            code = .truncated
            expected = "a whole \(format.rawValue) file"
        case IMAGE_CODECS_UNSUPPORTED: code = .unsupported
        case IMAGE_CODECS_EMPTY:
            code = .empty
            expected = "at least one row and one column"
        case IMAGE_CODECS_TOO_LARGE:
            code = .tooLarge
            expected = "at most \(maximumPixels) pixels"
        case IMAGE_CODECS_NO_MEMORY: code = .outOfMemory
        default: code = .corrupt
        }
        return InputError(
            code, file: name, offset: Int(clamping: picture.offset), expected: expected,
            found: "\(format.rawValue): \(message)")
    }
}
