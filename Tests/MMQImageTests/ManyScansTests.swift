import Foundation
import MMQBase
import Support
import Testing

@testable import MMQImage

/// A scan costs next to no bytes and a pass over the whole picture.
@Suite struct ManyScansTests {
    /// A committed JPEG with its one scan repeated, and another size in its frame header.
    private func picture(scans: Int, side: UInt8) throws -> [UInt8] {
        let path = Golden.folder + "/bench/vqav2/train2014/COCO_train2014_000000000101.jpg"
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        let frame = try #require(
            bytes.indices.dropLast().first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
        // side * 256 rows and columns
        bytes.replaceSubrange(frame + 5..<frame + 9, with: [side, 0, side, 0])
        let start = try #require(
            bytes.indices.dropLast().last { bytes[$0] == 0xff && bytes[$0 + 1] == 0xda })
        let scan = Array(bytes[start..<bytes.count - 2])
        return bytes[..<start] + Array(repeatElement(scan, count: scans).joined()) + [0xff, 0xd9]
    }

    private func decode(_ bytes: [UInt8]) throws -> RGBImage {
        try bytes.withUnsafeBytes { try RGBImage.decode(bytes: $0, name: "scans.jpg") }
    }

    /// 4,096 × 4,096 pixels in 20 and in 3,000 scans: refused before any is decoded.
    @Test(arguments: [20, 3_000])
    func tooMany(_ scans: Int) throws {
        let bytes = try picture(scans: scans, side: 16)
        let clock = ContinuousClock()
        let start = clock.now
        let error = #expect(throws: InputError.self) { try decode(bytes) }
        #expect(error?.code == .unsupported)
        #expect(error?.description.contains("\(scans) scans of 16777216 pixels") == true)
        #expect(clock.now - start < .seconds(2))
    }

    /// Three colours of 8,192 × 8,192 pixels in some kilobytes; of 2,048 × 2,048, which is little work,
    /// in as many.
    @Test func moreBlocksThanBytes() throws {
        let bytes = try picture(scans: 1, side: 32)
        let error = #expect(throws: InputError.self) { try decode(bytes).width }
        #expect(error?.code == .unsupported)
        let found = "8192 x 8192 pixels in \(bytes.count) bytes"
        #expect(error?.description.contains(found) == true, "\(error.debugDescription)")
        let small = try decode(picture(scans: 1, side: 8))
        #expect(small.width == 2048 && small.height == 2048)
    }
}
