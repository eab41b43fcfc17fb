import CImageCodecs

extension RGBImage {
    /// The bytes of a PNG file that holds this picture without compression: any program opens it, and
    /// the same picture is always the same file.
    public func uncompressedPNG() -> [UInt8] {
        var rows: [UInt8] = []
        rows.reserveCapacity(height * (width * 3 + 1))
        for y in 0..<height {
            rows.append(0)  // no filter
            rows += pixels[y * width * 3..<(y + 1) * width * 3]
        }
        var stream: [UInt8] = [0x78, 0x01]
        var at = 0
        repeat {
            let count = min(65535, rows.count - at)
            let length = [UInt8(count & 255), UInt8(count >> 8)]
            stream.append(at + count == rows.count ? 1 : 0)
            stream += length + length.map { ~$0 }
            stream += rows[at..<at + count]
            at += count
        } while at < rows.count
        stream += Self.bigEndian(image_codecs_adler32(rows, rows.count))
        let header =
            Self.bigEndian(UInt32(width)) + Self.bigEndian(UInt32(height)) + [8, 2, 0, 0, 0]
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + Self.chunk("IHDR", header) + Self.chunk("IDAT", stream) + Self.chunk("IEND", [])
    }

    private static func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
        let body = Array(name.utf8) + content
        return bigEndian(UInt32(content.count)) + body
            + bigEndian(image_codecs_crc32(body, body.count))
    }

    private static func bigEndian(_ number: UInt32) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}
