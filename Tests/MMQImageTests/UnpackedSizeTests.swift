import MMQBase
import Support
import Testing

@testable import MMQImage

/// A PNG's rows may unpack to a thousand times its bytes.
@Suite struct UnpackedSizeTests {
    /// A whole PNG of 2 × 2 pixels, another size and sample depth in its header.
    private func picture(width: UInt32, height: UInt32, depth: UInt8, colour: UInt8) -> [UInt8] {
        var bytes = RGBImage(width: 2, height: 2, pixels: Array(repeating: 9, count: 12))
            .uncompressedPNG()
        func bigEndian(_ number: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
        }
        let header = bigEndian(width) + bigEndian(height) + [depth, colour]
        bytes.replaceSubrange(16..<26, with: header)
        bytes.replaceSubrange(29..<33, with: bigEndian(crc32(Array(bytes[12..<29]))))
        return bytes
    }

    private func error(_ bytes: [UInt8]) -> InputError? {
        #expect(throws: InputError.self) {
            try bytes.withUnsafeBytes { try RGBImage.decode(bytes: $0, name: "rows.png") }
        }
    }

    @Test func rowsOfAGigabyte() throws {
        let clock = ContinuousClock()
        let start = clock.now
        let refused = error(picture(width: 13_000, height: 13_000, depth: 16, colour: 6))
        #expect(refused?.code == .unsupported && refused?.file == "rows.png")
        #expect(refused?.description.contains("1352013000 bytes of rows") == true)
        #expect(clock.now - start < .seconds(2))
        // Up to 256 MB it is tried: here there is no data for so many rows.
        let short = error(picture(width: 5750, height: 5750, depth: 16, colour: 6))
        #expect(short?.code == .corrupt || short?.code == .truncated)
    }

    /// Rows of one bit a pixel are small, what is resized is not.
    @Test func pixelsOfOneBit() throws {
        let refused = error(picture(width: 13_000, height: 13_000, depth: 1, colour: 0))
        #expect(refused?.code == .unsupported && refused?.file == "rows.png")
        #expect(refused?.description.contains("169000000 pixels") == true)
        let short = error(picture(width: 8192, height: 8192, depth: 1, colour: 0))
        #expect(short?.code == .corrupt || short?.code == .truncated)
    }
}
