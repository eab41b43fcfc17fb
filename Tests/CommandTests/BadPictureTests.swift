import Foundation
import Support
import Testing

/// Pictures that must be refused before a model is opened: there is none in these tests.
@Suite struct BadPictureTests {
    private func expectRefusal(
        _ path: String, naming words: [String] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let folder = try TemporaryFolder()
        try CommandTests.expectRefusal(
            ["ask", "--model", "no-model", "--image", path, "Why?"], naming: [path] + words,
            sourceLocation: sourceLocation)
        try CommandTests.expectRefusal(
            GoldenModel.llava.trace("no-model", to: folder("trace"), picture: path),
            naming: [path] + words, sourceLocation: sourceLocation)
        #expect(try folder.entries() == [], sourceLocation: sourceLocation)
    }

    private let jpeg = goldenBench + "/vqav2/train2014/COCO_train2014_000000000101.jpg"
    private let png = GoldenModel.llava.picture("wide")

    @Test func cutShort() throws {
        let folder = try TemporaryFolder()
        for (source, name) in [(jpeg, "cut.jpg"), (png, "cut.png")] {
            let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: source)))
            for count in [1, 2, 3, 8, 20, 33, 60, 200, whole.count / 2, whole.count * 3 / 4] {
                try expectRefusal(folder.write(name, Array(whole.prefix(count))))
            }
        }
    }

    @Test func notAPicture() throws {
        let folder = try TemporaryFolder()
        try expectRefusal(folder.write("empty.png", []), naming: ["empty file"])
        try expectRefusal(folder.write("text.jpg", text: "hello, world"), naming: ["not a picture"])
        try expectRefusal(folder.write("gif.png", text: "GIF89a......"), naming: ["GIF"])
        try expectRefusal(folder.path, naming: ["folder"])
        try expectRefusal(folder("none.png"), naming: ["no such file"])
        try expectRefusal("/dev/zero")
    }

    private func chunk(_ name: String, _ data: Data) -> Data {
        let body = Data(name.utf8) + data
        return bigEndian(UInt32(data.count)) + body + bigEndian(crc32([UInt8](body)))
    }

    private func bigEndian(_ value: UInt32) -> Data {
        withUnsafeBytes(of: value.bigEndian) { Data($0) }
    }

    /// A PNG whose header says a size, with next to no data.
    private func header(width: UInt32, height: UInt32) -> [UInt8] {
        let size = bigEndian(width) + bigEndian(height)
        return [UInt8](
            Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
                + chunk("IHDR", size + Data([8, 2, 0, 0, 0]))
                + chunk("IDAT", Data([0x78, 0x9C, 0x03, 0, 0, 0, 0, 1])) + chunk("IEND", Data()))
    }

    @Test func zeroSized() throws {
        let folder = try TemporaryFolder()
        for (width, height): (UInt32, UInt32) in [(0, 0), (0, 5), (5, 0)] {
            try expectRefusal(folder.write("zero.png", header(width: width, height: height)))
        }
    }

    @Test func enormous() throws {
        let folder = try TemporaryFolder()
        for side: UInt32 in [40_000, 1 << 31 - 1, .max] {
            try expectRefusal(folder.write("huge.png", header(width: side, height: side)))
        }
        // The size in a JPEG's frame header, behind marker, length and precision.
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: jpeg)))
        let frame = try #require(
            bytes.indices.dropLast().first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xC0 })
        bytes.replaceSubrange(frame + 5..<frame + 9, with: [0x9C, 0x40, 0x9C, 0x40])
        try expectRefusal(folder.write("huge.jpg", bytes), naming: ["pixels"])
    }
}
