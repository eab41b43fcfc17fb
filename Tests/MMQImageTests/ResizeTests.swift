import MMQImage
import Support
import Testing

@Suite("Resizing equals Pillow's bicubic resize")
struct ResizeTests {
    struct Goldens: Decodable {
        /// seed, width, height, new width, new height, CRC-32 of the pixels
        let cases: [[Int]]
    }

    @Test("Noise of many sizes, to the bit")
    func goldens() throws {
        let cases = try ImageGoldens.json("resize.json", as: Goldens.self).cases
        #expect(cases.count > 50)
        for golden in cases {
            let image = ImageGoldens.noise(
                width: golden[1], height: golden[2], seed: UInt64(golden[0]))
            let resized = image.resizedBicubic(width: golden[3], height: golden[4])
            #expect(resized.width == golden[3] && resized.height == golden[4])
            #expect(Int(crc32(resized.pixels)) == golden[5], "\(golden)")
        }
    }

    @Test("The same size is the same picture")
    func identity() {
        let image = ImageGoldens.noise(width: 9, height: 4, seed: 1)
        #expect(image.resizedBicubic(width: 9, height: 4) == image)
    }

    @Test("One colour stays that colour")
    func flat() {
        let image = RGBImage(
            width: 31, height: 17, pixels: (0..<31 * 17).flatMap { _ in [0, 200, 255] as [UInt8] })
        let resized = image.resizedBicubic(width: 12, height: 40)
        #expect(Set(resized.pixels) == [0, 200, 255])
    }
}
