import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// A picture inside a page.
///
/// A small file's own bytes without what does not belong to the pixels: place and time of a
/// photograph, thumbnails, its orientation and colour profile (the model does not look at them
/// either). A large one is made smaller and written as PNG.
public struct EmbeddedPicture: Sendable, Codable, Equatable {
    /// `image/png` or `image/jpeg`.
    public let type: String
    /// Columns of the picture as the model saw it.
    public let width: Int
    /// Rows of the picture as the model saw it.
    public let height: Int
    /// The file's bytes.
    public let data: Data

    /// Larger files are made smaller.
    static let largestFile = 1_500_000
    /// The longer side of a picture that was made smaller.
    static let smallerSide = 640

    /// Decodes a picture and gets it ready for a page.
    ///
    /// - Throws: `InputError`, `InputError`.
    public static func read(_ path: String) throws -> (image: RGBImage, embedded: EmbeddedPicture) {
        let image = try RGBImage.decode(path: path)
        return (image, EmbeddedPicture(image, bytes: try? readSmallFile(path, limit: largestFile)))
    }

    /// Gets a decoded picture ready for a page.
    ///
    /// - Parameter bytes: its file's, if there is one.
    public init(_ image: RGBImage, bytes: [UInt8]? = nil) {
        var own: (type: String, bytes: [UInt8])?
        if let bytes, bytes.count <= Self.largestFile {
            if let bare = Self.bareJPEG(bytes) { own = ("image/jpeg", bare) }
            if let bare = Self.barePNG(bytes) { own = ("image/png", bare) }
        }
        let (type, bytes) = own ?? ("image/png", Self.smaller(image).uncompressedPNG())
        self.type = type
        width = image.width
        height = image.height
        data = Data(bytes)
    }

    private static func smaller(_ image: RGBImage) -> RGBImage {
        let longer = max(image.width, image.height)
        guard longer > smallerSide else { return image }
        return image.resizedBicubic(
            width: max(1, image.width * smallerSide / longer),
            height: max(1, image.height * smallerSide / longer))
    }

    /// A JPEG file with the markers that say how to decode it, and no others; nil if it is not built
    /// as expected.
    static func bareJPEG(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.starts(with: [0xFF, 0xD8, 0xFF]) else { return nil }
        var out: [UInt8] = [0xFF, 0xD8]
        var at = 2
        while at + 4 <= bytes.count, bytes[at] == 0xFF {
            let marker = bytes[at + 1]
            if marker == 0xFF {  // a fill byte
                at += 1
                continue
            }
            let length = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
            guard length >= 2, at + 2 + length <= bytes.count else { return nil }
            // JFIF (APP0) and Adobe (APP14) say how colours are coded; other APPn and comments go.
            let isLeftOut = (0xE1...0xED).contains(marker) || [0xEF, 0xFE].contains(marker)
            if !isLeftOut { out += bytes[at..<at + 2 + length] }
            at += 2 + length
            // Scans, with tables between them if progressive, up to the end.
            if marker == 0xDA { return out + bytes[at...] }
        }
        return nil
    }

    /// A PNG file with its pixels' chunks and no others; nil if it is not built as expected.
    static func barePNG(_ bytes: [UInt8]) -> [UInt8]? {
        let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        guard bytes.starts(with: signature) else { return nil }
        var out = signature
        var at = signature.count
        while at + 12 <= bytes.count {
            let length = bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - at - 12 else { return nil }
            let name = String(decoding: bytes[at + 4..<at + 8], as: UTF8.self)
            if ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"].contains(name) {
                out += bytes[at..<at + 12 + length]
            }
            at += 12 + length
            if name == "IEND" { return out }
        }
        return nil
    }
}
