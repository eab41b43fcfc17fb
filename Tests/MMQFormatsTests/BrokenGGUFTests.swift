import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@Suite struct BrokenGGUFTests {
    static let catalogue: [BrokenFile] = headers + values + tensors

    static let headers: [BrokenFile] = [
        BrokenFile("empty", [], .badMagic, nil),
        BrokenFile("three bytes", Array("GGU".utf8), .badMagic, nil),
        BrokenFile("another magic", Array("ggml".utf8) + [3, 0, 0, 0], .badMagic, nil),
        BrokenFile(
            "version 1", GGUFBytes(version: 1, tensors: 0, keys: 0).bytes, .unsupportedVersion,
            "version"),
        BrokenFile(
            "version 4", GGUFBytes(version: 4, tensors: 0, keys: 0).bytes, .unsupportedVersion,
            "version"),
        BrokenFile(
            "big endian", GGUFBytes(version: UInt32(3).byteSwapped, tensors: 0, keys: 0).bytes,
            .unsupportedVersion, "version"),
        BrokenFile(
            "no counts", Array(GGUFBytes(tensors: 0, keys: 0).bytes.prefix(8)), .truncated,
            "tensor count"),
        BrokenFile(
            "2^63 tensors", GGUFBytes(tensors: 1 << 63, keys: 0).bytes, .truncated, "tensor count"),
        BrokenFile(
            "2^64 - 1 keys", GGUFBytes(tensors: 0, keys: .max).bytes, .truncated, "metadata count"),
    ]

    static let values: [BrokenFile] = [
        BrokenFile(
            "unknown value type", GGUFBytes.key(13) { $0.number(UInt64(0)) }, .unknownType,
            "key 'k'"),
        BrokenFile("value cut", GGUFBytes.key(10) { $0.number(UInt32(0)) }, .truncated, "key 'k'"),
        BrokenFile("boolean of 2", GGUFBytes.key(7) { $0.number(UInt32(2)) }, .badValue, "key 'k'"),
        BrokenFile(
            "string past the end", GGUFBytes.key(8) { $0.text("abc", length: 4) }, .truncated,
            "key 'k'"),
        BrokenFile(
            "string of 2^64 - 1 bytes", GGUFBytes.key(8) { $0.text("abc", length: .max) },
            .truncated, "key 'k'"),
        BrokenFile(
            "array past the end",
            GGUFBytes.key(9) {
                $0.number(UInt32(4))
                $0.number(UInt64(2))
                $0.number(UInt32(0))
            }, .truncated, "key 'k'"),
        BrokenFile(
            "array of 2^62",
            GGUFBytes.key(9) {
                $0.number(UInt32(10))
                $0.number(UInt64(1) << 62)
            }, .truncated, "key 'k'"),
        BrokenFile(
            "array of unknown type",
            GGUFBytes.key(9) {
                $0.number(UInt32(99))
                $0.number(UInt64(0))
            }, .unknownType, "key 'k'"),
        BrokenFile(
            "arrays in arrays without end",
            GGUFBytes.key(9) {
                for _ in 0..<20 {
                    $0.number(UInt32(9))
                    $0.number(UInt64(1))
                }
            }, .tooLarge, "key 'k'"),
        BrokenFile(
            "key twice",
            {
                var file = GGUFBytes(tensors: 0, keys: 2)
                for _ in 0..<2 { file.key("k", 4) { $0.number(UInt32(1)) } }
                return file.bytes
            }(), .duplicate, "key 'k'"),
        BrokenFile(
            "empty key",
            {
                var file = GGUFBytes(tensors: 0, keys: 1)
                file.key("", 4) { $0.number(UInt64(1)) }
                return file.bytes
            }(), .badHeader, "metadata key 0"),
        BrokenFile(
            "key not UTF-8",
            {
                var file = GGUFBytes(tensors: 0, keys: 1)
                file.number(UInt64(1))
                file.number(UInt8(0xff))
                file.number(UInt32(4))
                file.number(UInt32(1))
                return file.bytes
            }(), .badHeader, "metadata key 0"),
        alignment(4) { $0.number(UInt32(0)) },
        alignment(4) { $0.number(UInt32(24)) },
        alignment(10) { $0.number(UInt64.max) },
        alignment(8) { $0.text("32") },
    ]

    static func alignment(_ type: UInt32, _ value: (inout GGUFBytes) -> Void) -> BrokenFile {
        var file = GGUFBytes(tensors: 0, keys: 1)
        file.key("general.alignment", type, value)
        let name = "alignment \(file.bytes.suffix(8))"
        return BrokenFile(name, file.bytes, .badValue, "key 'general.alignment'")
    }

    static let tensors: [BrokenFile] = [
        BrokenFile(
            "tensor list cut", Array(GGUFBytes.one().prefix(40)), .truncated, "tensor 'w'"),
        BrokenFile("no dimensions", GGUFBytes.one(dimensions: []), .badShape, "tensor 'w'"),
        BrokenFile(
            "five dimensions", GGUFBytes.one(dimensions: [1, 1, 1, 1, 1]), .badShape, "tensor 'w'"),
        BrokenFile(
            "2^32 - 1 dimensions", GGUFBytes.one(count: .max), .badShape, "tensor 'w'"),
        BrokenFile(
            "dimension beyond 2^63", GGUFBytes.one(dimensions: [.max]), .overflow, "tensor 'w'"),
        BrokenFile(
            "elements overflow", GGUFBytes.one(dimensions: [1 << 32, 1 << 32]), .overflow,
            "tensor 'w'"),
        BrokenFile(
            "bytes overflow", GGUFBytes.one(dimensions: [1 << 62]), .overflow, "tensor 'w'"),
        BrokenFile("unknown type", GGUFBytes.one(type: 4), .unknownType, "tensor 'w'"),
        BrokenFile("type of the future", GGUFBytes.one(type: 1000), .unknownType, "tensor 'w'"),
        BrokenFile(
            "half a block", GGUFBytes.one(dimensions: [48], type: 8), .badShape, "tensor 'w'"),
        BrokenFile(
            "offset not aligned", GGUFBytes.one(offset: 8, data: 64), .badOffset, "tensor 'w'"),
        BrokenFile("offset past the end", GGUFBytes.one(offset: 32), .truncated, "tensor 'w'"),
        BrokenFile(
            "offset near 2^64", GGUFBytes.one(offset: 0 &- 32), .truncated, "tensor 'w'"),
        BrokenFile("data cut short", GGUFBytes.one(data: 7), .truncated, "tensor 'w'"),
        BrokenFile("no data", GGUFBytes.one(data: 0), .truncated, "tensor 'w'"),
        BrokenFile("tensors overlap", GGUFBytes.two(0, 0), .overlap, "tensor 'b'"),
        BrokenFile(
            "name twice", GGUFBytes.two(0, 32, names: ("a", "a")), .duplicate, "tensor 'a'"),
        BrokenFile("name past the end", nameLength(1 << 40), .truncated, "tensor name"),
        BrokenFile("empty name", GGUFBytes.one(name: ""), .badHeader, "tensor name"),
    ]

    static func nameLength(_ length: UInt64) -> [UInt8] {
        var file = GGUFBytes(tensors: 1, keys: 0)
        file.text("w", length: length)
        file.data(64)
        return file.bytes
    }

    @Test(arguments: catalogue)
    func isRefused(_ broken: BrokenFile) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("broken.gguf", broken.bytes)
        let error = #expect(throws: InputError.self) { try GGUFFile(path: path) }
        #expect(error?.code == broken.code)
        #expect(error?.item == broken.item || broken.name == "tensors overlap")
        #expect(error?.file == path)
    }

    @Test func theSameFilesUnbrokenAreRead() throws {
        let folder = try TemporaryFolder()
        let one = try GGUFFile(path: folder.write("one.gguf", GGUFBytes.one()))
        #expect(try one.floats("w") == [0, 0])
        let two = try GGUFFile(path: folder.write("two.gguf", GGUFBytes.two(32, 0)))
        #expect(two.tensors.map(\.name) == ["a", "b"])
        let key = try GGUFFile(path: folder.write("k.gguf", GGUFBytes.key(8) { $0.text("x") }))
        #expect(try key.metadata.string("k") == "x")
        let old = try GGUFFile(
            path: folder.write("v2.gguf", GGUFBytes(version: 2, tensors: 0, keys: 0).bytes))
        #expect(old.version == 2)
    }

    /// Cut at every length, a file is refused.
    @Test func everyCutIsRefused() throws {
        let folder = try TemporaryFolder()
        let golden = try Data(
            contentsOf: URL(fileURLWithPath: Golden.path("formats/every-value.gguf")))
        let whole = Array(golden)
        // The last tensor's data are followed by padding, which may be missing.
        for length in stride(from: 0, to: whole.count - 32, by: 3) {
            let path = try folder.write("cut.gguf", Array(whole[..<length]))
            #expect(throws: InputError.self) { try GGUFFile(path: path) }
        }
    }

    /// A byte changed anywhere gives an error or a file whose tensors can all be read.
    @Test func anyChangedByteIsSafe() throws {
        let folder = try TemporaryFolder()
        let golden = try Data(
            contentsOf: URL(fileURLWithPath: Golden.path("formats/every-value.gguf")))
        var random = SeededRandom(seed: 5)
        for _ in 0..<600 {
            var bytes = Array(golden)
            for _ in 0..<(1 + Int(random.next() % 3)) {
                bytes[Int(random.next() % 1100)] = UInt8(truncatingIfNeeded: random.next())
            }
            let path = try folder.write("changed.gguf", bytes)
            do {
                let file = try GGUFFile(path: path)
                for tensor in file.tensors { _ = try file.bytes(tensor).reduce(0) { $0 &+ $1 } }
            } catch let error as InputError {
                #expect(error.file == path)
            }
        }
    }
}
