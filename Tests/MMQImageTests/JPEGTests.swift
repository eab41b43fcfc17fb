import MMQBase
import MMQImage
import Testing

/// JPEG files that are written.
@Suite struct JPEGTests {
    /// Soft colours, which the format keeps well.
    private func picture(_ width: Int, _ height: Int) -> RGBImage {
        RGBImage(
            width: width, height: height,
            pixels: (0..<height).flatMap { y in
                (0..<width).flatMap { x in
                    [UInt8(x * 200 / width), UInt8(y * 200 / height), 120]
                }
            })
    }

    @Test(arguments: [(1, 1), (7, 3), (64, 48), (301, 97), (3, 400)])
    func comesOutAsItWentIn(_ size: (Int, Int)) throws {
        let image = picture(size.0, size.1)
        let file = try image.jpeg(quality: 90)
        let again = try file.withUnsafeBytes { try RGBImage.decode(bytes: $0, name: "jpeg") }
        #expect(again.width == image.width && again.height == image.height)
        let far = zip(image.pixels, again.pixels).map { abs(Int($0) - Int($1)) }
        #expect(far.reduce(0, +) <= 6 * far.count, "\(size)")
        #expect(try image.jpeg(quality: 90) == file)
    }

    @Test func worseIsSmaller() throws {
        var generator = SplitMix64(seed: 5)
        let noise = RGBImage(
            width: 200, height: 150,
            pixels: (0..<200 * 150 * 3).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
        let sizes = try [95, 60, 20].map { try noise.jpeg(quality: $0).count }
        #expect(sizes == sizes.sorted(by: >) && Set(sizes).count == 3)
        // More than the first piece of memory holds.
        #expect(sizes[0] > 40_000)
    }

    @Test func whatCannotBeWritten() {
        for (width, height) in [(0, 0), (0, 5), (65_501, 1), (1, 70_000)] {
            let image = RGBImage(
                width: width, height: height,
                pixels: Array(repeating: 9, count: width * height * 3))
            #expect(throws: InputError.self) { try image.jpeg(quality: 80) }
        }
    }
}
