import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

/// A broken file, and the error that must name what is wrong with it.
struct BrokenFile: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let code: InputError.Code
    let item: String?

    init(_ name: String, _ bytes: [UInt8], _ code: InputError.Code, _ item: String?) {
        (self.name, self.bytes, self.code, self.item) = (name, bytes, code, item)
    }

    var testDescription: String { name }
}

@Suite struct BrokenSafetensorsTests {
    static let huge = UInt64.max

    /// A header with one tensor 'w'.
    static func one(
        dtype: String = #""F32""#, shape: String = "[2]", offsets: String = "[0,8]",
        extra: String = ""
    ) -> String {
        #"{"w":{"dtype":\#(dtype),"shape":\#(shape),"data_offsets":\#(offsets)\#(extra)}}"#
    }

    static func file(_ header: String, _ dataBytes: Int = 8) -> [UInt8] {
        safetensors(header, data: [UInt8](repeating: 0, count: dataBytes))
    }

    static func two(_ a: String, _ b: String, bytes: Int) -> [UInt8] {
        let tensor = { (name: String, offsets: String) in
            #""\#(name)":{"dtype":"U8","shape":[4],"data_offsets":\#(offsets)}"#
        }
        return file("{\(tensor("a", a)),\(tensor("b", b))}", bytes)
    }

    static let catalogue: [BrokenFile] = [
        BrokenFile("empty", [], .truncated, "header length"),
        BrokenFile("seven bytes", [UInt8](repeating: 0, count: 7), .truncated, "header length"),
        BrokenFile(
            "header length past the end", safetensors("{}", data: [], length: 100), .truncated,
            "header"),
        BrokenFile(
            "header length of 2^64 - 1", safetensors("{}", data: [], length: huge), .tooLarge,
            "header length"),
        BrokenFile(
            "header of zero bytes", safetensors("", data: [], length: 0), .badHeader, "header"),
        BrokenFile("header cut", file(#"{"w":{"dty"#), .badHeader, "JSON"),
        BrokenFile("header is a list", file("[1]"), .badHeader, "header"),
        BrokenFile("text after the header", file("{} x"), .badHeader, "JSON"),
        BrokenFile(
            "header not UTF-8",
            safetensors("", data: Array("{\"".utf8) + [0xff, 0x22, 0x7d], length: 5),
            .badHeader, "JSON"),
        BrokenFile(
            "nested too deep", file(String(repeating: "[", count: 300)), .tooLarge, "JSON"),
        BrokenFile("tensor is a number", file(#"{"w":3}"#), .badHeader, "tensor 'w'"),
        BrokenFile(
            "no dtype", file(#"{"w":{"shape":[2],"data_offsets":[0,8]}}"#), .badHeader,
            "tensor 'w'"),
        BrokenFile("unknown dtype", file(one(dtype: #""F8_E4M3""#)), .unknownType, "tensor 'w'"),
        BrokenFile("dtype is a number", file(one(dtype: "1")), .badHeader, "tensor 'w'"),
        BrokenFile(
            "no shape", file(#"{"w":{"dtype":"F32","data_offsets":[0,8]}}"#), .badHeader,
            "tensor 'w'"),
        BrokenFile("negative dimension", file(one(shape: "[-2]")), .badHeader, "tensor 'w'"),
        BrokenFile("fractional dimension", file(one(shape: "[2.0]")), .badHeader, "tensor 'w'"),
        BrokenFile(
            "dimension beyond 2^63", file(one(shape: "[9223372036854775808]")), .badHeader,
            "tensor 'w'"),
        BrokenFile(
            "elements overflow", file(one(shape: "[4294967296,4294967296]")), .overflow,
            "tensor 'w'"),
        BrokenFile(
            "bytes overflow", file(one(shape: "[4611686018427387904]")), .overflow, "tensor 'w'"),
        BrokenFile("shape too large", file(one(shape: "[3]")), .badShape, "tensor 'w'"),
        BrokenFile("shape too small", file(one(shape: "[1]")), .badShape, "tensor 'w'"),
        BrokenFile("one offset", file(one(offsets: "[8]")), .badHeader, "tensor 'w'"),
        BrokenFile("offsets reversed", file(one(offsets: "[8,0]")), .badOffset, "tensor 'w'"),
        BrokenFile("negative offset", file(one(offsets: "[-8,0]")), .badHeader, "tensor 'w'"),
        BrokenFile("data cut short", file(one(), 7), .truncated, "tensor 'w'"),
        BrokenFile(
            "offsets near 2^63", file(one(offsets: "[9223372036854775799,9223372036854775807]")),
            .truncated, "tensor 'w'"),
        BrokenFile("bytes after the data", file(one(), 9), .hole, "data"),
        BrokenFile("bytes before the data", file(one(offsets: "[8,16]"), 16), .hole, "tensor 'w'"),
        BrokenFile("unknown key", file(one(extra: #","x":1"#)), .badHeader, "tensor 'w'"),
        BrokenFile("tensors overlap", two("[0,4]", "[2,6]", bytes: 6), .overlap, "tensor 'b'"),
        BrokenFile("tensors coincide", two("[0,4]", "[0,4]", bytes: 4), .overlap, "tensor 'b'"),
        BrokenFile("hole between", two("[0,4]", "[5,9]", bytes: 9), .hole, "tensor 'b'"),
        BrokenFile(
            "name twice",
            file(
                #"{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
                    + #""w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#),
            .duplicate, "key 'w'"),
        BrokenFile(
            "metadata is a list", file(#"{"__metadata__":[]}"#, 0), .badHeader, "__metadata__"),
        BrokenFile(
            "metadata value is a number", file(#"{"__metadata__":{"a":1}}"#, 0), .badHeader,
            "__metadata__.a"),
    ]

    @Test(arguments: catalogue)
    func isRefused(_ broken: BrokenFile) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("broken.safetensors", broken.bytes)
        let error = #expect(throws: InputError.self) { try SafetensorsFile(path: path) }
        #expect(error?.code == broken.code)
        // Where two tensors collide, which of them is named depends on the sorting of equals.
        let items =
            broken.name == "tensors coincide" ? ["tensor 'a'", "tensor 'b'"] : [broken.item]
        #expect(items.contains(error?.item))
        #expect(error?.file == path)
        #expect(error?.description.hasPrefix(path) == true)
    }

    @Test func theSameFileUnbrokenIsRead() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("good.safetensors", Self.file(Self.one()))
        #expect(try SafetensorsFile(path: path).floats("w") == [0, 0])
    }

    /// Cut at every length, a file is refused, and never read past its end.
    @Test func everyCutIsRefused() throws {
        let folder = try TemporaryFolder()
        let whole = Self.two("[0,4]", "[4,8]", bytes: 8)
        for length in 0..<whole.count {
            let path = try folder.write("cut.safetensors", Array(whole[..<length]))
            #expect(throws: InputError.self) { try SafetensorsFile(path: path) }
        }
    }

    /// A file that shrinks after it was opened gives an error, not a crash.
    @Test func shrinkingFile() throws {
        let folder = try TemporaryFolder()
        let whole = Self.file(Self.one())
        let path = try folder.write("w.safetensors", whole)
        let file = try SafetensorsFile(path: path)
        try folder.write("w2.safetensors", Array(whole.dropLast(4)))
        try #require(truncate(path, off_t(whole.count - 4)) == 0)
        let error = #expect(throws: InputError.self) { try file.floats("w") }
        #expect(error?.code == .truncated)
    }

    @Test func notAFile() throws {
        let folder = try TemporaryFolder()
        #expect(throws: InputError.self) { try SafetensorsFile(path: folder.path) }
        let error = #expect(throws: InputError.self) { try SafetensorsFile(path: folder("none")) }
        #expect(error?.code == .unreadable)
    }
}
