import Foundation
import MMQBase
import MMQImage
import Support
import Testing

/// A picture's size from its header is that of the decoded picture.
@Suite struct PictureSizeTests {
    @Test func equalsTheDecodedPictures() throws {
        var seen = 0
        let files = FileManager.default.enumerator(atPath: Golden.folder)?.allObjects ?? []
        for case let name as String in files
        where [".png", ".jpg", ".jpeg"].contains(where: { name.lowercased().hasSuffix($0) }) {
            let path = Golden.folder + "/" + name
            guard let image = try? RGBImage.decode(path: path) else { continue }
            let size = try PixelSize(ofPicture: path)
            #expect(size == PixelSize(height: image.height, width: image.width), "\(name)")
            seen += 1
        }
        #expect(seen > 20)
    }

    @Test func brokenHeadersAreErrors() throws {
        let folder = try TemporaryFolder()
        let jpeg: [UInt8] = [0xff, 0xd8, 0xff, 0xe0, 0, 16] + Array(repeating: 0, count: 14)
        let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]
        for (number, bytes) in [
            jpeg, png, [], Array("hello".utf8), jpeg + [0xff, 0xc0, 0, 11, 8, 0],
            png + Array("IHDR".utf8) + [0, 0, 0, 0, 0, 0, 0, 5],
            // Another chunk has no size at that place.
            png + Array("IDAT".utf8) + [0, 0, 0, 9, 0, 0, 0, 5, 8, 2, 0, 0, 0],
            jpeg + Array(repeating: 0xff, count: 5000),
        ].enumerated() {
            let path = try folder.write("\(number)", bytes)
            let error = #expect(throws: InputError.self) { try PixelSize(ofPicture: path) }
            #expect(error?.file == path)
        }
        #expect(throws: InputError.self) { try PixelSize(ofPicture: folder("none")) }
    }
}
