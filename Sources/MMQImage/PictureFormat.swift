import MMQBase

/// The formats that are read, and how to tell them and others from the first bytes.
enum PictureFormat: String {
    case jpeg = "JPEG"
    case png = "PNG"

    /// So many bytes are enough to tell a format.
    static let telltaleBytes = 64

    /// Tells the format from the first bytes, never from the file's name.
    ///
    /// - Throws: ``InputError`` with what the bytes look like, if they are none of ours.
    static func recognize(_ bytes: UnsafeRawBufferPointer, name: String) throws -> PictureFormat {
        if starts(bytes, with: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        if starts(bytes, with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        let expected = "a JPEG or PNG file"
        if bytes.isEmpty {
            throw InputError(.badMagic, file: name, expected: expected, found: "an empty file")
        }
        if let format = otherFormat(bytes) {
            throw InputError(
                .unsupported, file: name, expected: expected,
                found: "a picture in \(format) format; convert it to PNG")
        }
        // The beginning of a signature is a picture that was cut short, not something else.
        for signature: [UInt8] in [[0xFF, 0xD8], [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A]]
        where bytes.count <= signature.count && bytes.elementsEqual(signature.prefix(bytes.count)) {
            throw InputError(
                .truncated, file: name, offset: bytes.count, expected: expected,
                found: "only \(bytes.count) bytes")
        }
        throw InputError(
            .badMagic, file: name, expected: expected,
            found: "not a picture: it begins with \(preview(bytes))")
    }

    private static func starts(
        _ bytes: UnsafeRawBufferPointer, with signature: [UInt8], at offset: Int = 0
    ) -> Bool {
        bytes.count >= offset + signature.count
            && bytes[offset..<offset + signature.count].elementsEqual(signature)
    }

    private static func starts(
        _ bytes: UnsafeRawBufferPointer, with signature: String, at offset: Int = 0
    ) -> Bool {
        starts(bytes, with: Array(signature.utf8), at: offset)
    }

    /// The name of a picture format that is not read here.
    private static func otherFormat(_ bytes: UnsafeRawBufferPointer) -> String? {
        if starts(bytes, with: "GIF87a") || starts(bytes, with: "GIF89a") { return "GIF" }
        if starts(bytes, with: "RIFF") && starts(bytes, with: "WEBP", at: 8) { return "WebP" }
        if starts(bytes, with: [0x49, 0x49, 0x2A, 0]) || starts(bytes, with: [0x4D, 0x4D, 0, 0x2A])
            || starts(bytes, with: [0x49, 0x49, 0x2B, 0])
            || starts(bytes, with: [0x4D, 0x4D, 0, 0x2B])
        {
            return "TIFF"
        }
        if starts(bytes, with: "BM") && bytes.count >= 14 && bytes[6..<10].allSatisfy({ $0 == 0 }) {
            return "BMP"
        }
        if starts(bytes, with: "ftyp", at: 4) {
            for (brand, format) in [("avif", "AVIF"), ("avis", "AVIF"), ("heic", "HEIF")]
            where starts(bytes, with: brand, at: 8) { return format }
            if starts(bytes, with: "mif1", at: 8) { return "HEIF" }
        }
        if starts(bytes, with: [0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20])
            || starts(bytes, with: [0xFF, 0x4F, 0xFF, 0x51])
        {
            return "JPEG 2000"
        }
        if starts(bytes, with: [0xFF, 0x0A]) || starts(bytes, with: "JXL ", at: 4) {
            return "JPEG XL"
        }
        if starts(bytes, with: "8BPS") { return "Photoshop" }
        if bytes.count > 2, starts(bytes, with: "P"), (0x31...0x37).contains(bytes[1]),
            [0x20, 0x09, 0x0A, 0x0D].contains(bytes[2])
        {
            return "Netpbm"
        }
        return nil
    }

    /// The first bytes in hexadecimal, and as text where they are ASCII.
    private static func preview(_ bytes: UnsafeRawBufferPointer) -> String {
        let first = bytes.prefix(12)
        let digits = first.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }
        let hexadecimal = digits.joined(separator: " ")
        guard first.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return hexadecimal }
        return "\(hexadecimal) \"\(String(decoding: first, as: UTF8.self))\""
    }
}
