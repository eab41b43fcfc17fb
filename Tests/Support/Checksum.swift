import CImageCodecs

/// CRC-32 as zlib computes it: what Python's zlib.crc32 gives, and what PNG's chunks end with.
public func crc32(_ bytes: [UInt8]) -> UInt32 {
    image_codecs_crc32(bytes, bytes.count)
}
