import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@Suite struct SafetensorsTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func roundTrip() throws {
        var random = SeededRandom(seed: 3)
        let path = folder("a.safetensors")
        let floats = random.floats(24)
        let doubles: [Double] = [1, -0.0, 1e300, .pi]
        let long: [Int64] = [.min, 0, .max]
        let short: [Int32] = [-7, 8]
        let writer = try SafetensorsWriter(
            path: path,
            tensors: [
                .init(name: "short", type: .i32, shape: [2]),
                .init(name: "a \"quoted\"\nname", type: .f32, shape: [2, 3, 4]),
                .init(name: "empty", type: .f16, shape: [0, 5]),
                .init(name: "doubles", type: .f64, shape: [4]),
                .init(name: "long", type: .i64, shape: [3, 1]),
                .init(name: "scalar", type: .u8, shape: []),
            ], metadata: ["format": "pt", "line": "a\u{1}b"])
        #expect(!FileManager.default.fileExists(atPath: path))
        try writer.write("doubles", doubles)
        try writer.write("short", short)
        try writer.write("long", long)
        try [UInt8(9)].withUnsafeBytes { try writer.write("scalar", $0) }
        // In two parts, the second first.
        try floats.withUnsafeBytes {
            let cut = 40
            try writer.write("a \"quoted\"\nname", .init(rebasing: $0[cut...]), at: cut)
            try writer.write("a \"quoted\"\nname", .init(rebasing: $0[..<cut]))
        }
        try writer.commit()
        #expect(try folder.entries() == ["a.safetensors"])

        let file = try SafetensorsFile(path: path)
        #expect(file.metadata == ["format": "pt", "line": "a\u{1}b"])
        #expect(file.tensors.count == 6)
        #expect(try file.floats("a \"quoted\"\nname") == floats)
        #expect(file["a \"quoted\"\nname"]?.shape == [2, 3, 4])
        #expect(try file.doubles("doubles") == doubles)
        #expect(try file.integers("long") == long)
        #expect(try file.integers("short") == short.map(Int64.init))
        #expect(try file.integers("scalar") == [9])
        #expect(file["scalar"]?.shape == [])
        #expect(file["empty"]?.shape == [0, 5])
        #expect(try file.floats("empty").isEmpty)
        for tensor in file.tensors { #expect(tensor.offset % tensor.type.byteSize == 0) }
    }

    @Test func readsFloatTypes() throws {
        let path = try folder.write(
            "b.safetensors",
            safetensors(
                """
                {"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},\
                "b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},\
                "d":{"dtype":"F64","shape":[1],"data_offsets":[6,14]},\
                "i":{"dtype":"I16","shape":[1],"data_offsets":[14,16]},\
                "s":{"dtype":"I8","shape":[1],"data_offsets":[16,17]},\
                "o":{"dtype":"BOOL","shape":[2],"data_offsets":[17,19]}}
                """,
                data: [0, 0x3c, 0x66, 0xc0, 0x80, 0x3f] + Array(repeating: 0, count: 6)
                    + [0xf8, 0x3f, 0xfe, 0xff, 0x80, 0, 1]))
        let file = try SafetensorsFile(path: path)
        #expect(try file.floats("h") == [1, -2.19921875])
        #expect(try file.floats("b") == [1])
        #expect(try file.floats("d") == [1.5])
        #expect(try file.doubles("h") == [1, -2.19921875])
        #expect(try file.integers("i") == [-2])
        #expect(try file.integers("s") == [-128])
        #expect(try file.integers("o") == [0, 1])
        #expect(throws: InputError.self) { try file.floats("i") }
        #expect(throws: InputError.self) { try file.integers("h") }
        #expect(throws: InputError.self) { try file.floats("absent") }
    }

    @Test func unfinishedWriterLeavesNothing() throws {
        let path = folder("c.safetensors")
        do {
            let writer = try SafetensorsWriter(
                path: path, tensors: [.init(name: "x", type: .f32, shape: [2])])
            try writer.write("x", [Float(1), 2])
            #expect(try folder.entries() == ["c.safetensors.partial"])
        }
        #expect(try folder.entries() == [])
        let writer = try SafetensorsWriter(
            path: path, tensors: [.init(name: "x", type: .f32, shape: [2])])
        try writer.write("x", [Float(1)])
        let error = #expect(throws: InputError.self) { try writer.commit() }
        #expect(error?.code == .writeFailed && error?.item == "tensor 'x'")
        #expect(throws: InputError.self) { try writer.write("x", [Float(1), 2, 3]) }
        #expect(throws: InputError.self) { try writer.write("y", [Float(1)]) }
        writer.abandon()
        #expect(try folder.entries() == [])
    }

    @Test func twoWritersOfOneFileAreRefused() throws {
        let path = folder("d.safetensors")
        let first = try SafetensorsWriter(path: path, tensors: [])
        let error = #expect(throws: InputError.self) {
            try SafetensorsWriter(path: path, tensors: [])
        }
        #expect(error?.code == .writeFailed)
        try first.commit()
        #expect(try folder.entries() == ["d.safetensors"])
    }

    @Test func checkpointOfShards() throws {
        let one = #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        let two = #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        try folder.write("m-1.safetensors", safetensors(one, data: [1]))
        try folder.write("m-2.safetensors", safetensors(two, data: [2]))
        // Without an index all files count.
        #expect(try SafetensorsCheckpoint(folder: folder.path).names == ["a", "b"])
        let index = "model.safetensors.index.json"
        try folder.write(
            index, text: #"{"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#)
        let checkpoint = try SafetensorsCheckpoint(folder: folder.path)
        #expect(checkpoint["b"]?.file.path == folder("m-2.safetensors"))
        #expect(checkpoint["c"] == nil)
        // A single file of the usual name wins, as in transformers.
        try folder.write("model.safetensors", safetensors(one, data: [3]))
        #expect(try SafetensorsCheckpoint(folder: folder.path).names == ["a"])
    }

    static let indexes: [(String, InputError.Code, String?)] = [
        (#"{"weight_map":{"a":"m-1.safetensors"}}"#, InputError.Code.extraTensor, "tensor 'z'"),
        (
            #"{"weight_map":{"a":"m-1.safetensors","z":"m-1.safetensors","b":"m-1.safetensors"}}"#,
            .missingTensor, "tensor 'b'"
        ),
        (#"{"weight_map":{"a":"../m-1.safetensors"}}"#, .badValue, "weight_map.a"),
        (#"{"weight_map":{"a":3}}"#, .badValue, "weight_map.a"),
        (#"{"weight_map":{"a":"gone.safetensors"}}"#, .unreadable, nil),
        (#"{"weights":{}}"#, .missingKey, "weight_map"),
        (#"{"weight_map":{"a":"m-1.safetensors","a":"m-1.safetensors"}}"#, .duplicate, "key 'a'"),
        (#"{"weight_map":"#, .badHeader, "JSON"),
    ]

    @Test(arguments: indexes)
    func badIndex(_ text: String, _ code: InputError.Code, _ item: String?) throws {
        let header = """
            {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},\
            "z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}
            """
        try folder.write("m-1.safetensors", safetensors(header, data: [1, 2]))
        try folder.write("model.safetensors.index.json", text: text)
        let error = #expect(throws: InputError.self) {
            try SafetensorsCheckpoint(folder: folder.path)
        }
        #expect(error?.code == code)
        #expect(error?.item == item)
    }

    @Test func emptyAndMissingFolders() throws {
        try folder.write("pytorch_model.bin", [1])
        let error = #expect(throws: InputError.self) {
            try SafetensorsCheckpoint(folder: folder.path)
        }
        #expect(error?.code == .unreadable)
        #expect(error?.description.contains("pytorch_model.bin") == true)
        #expect(throws: InputError.self) { try SafetensorsCheckpoint(folder: folder("none")) }
        let one = #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        try folder.write("x.safetensors", safetensors(one, data: [1]))
        try folder.write("y.safetensors", safetensors(one, data: [2]))
        let twice = #expect(throws: InputError.self) {
            try SafetensorsCheckpoint(folder: folder.path)
        }
        #expect(twice?.code == .duplicate && twice?.item == "tensor 'a'")
    }
}

/// A safetensors file of that header and data.
func safetensors(_ header: String, data: [UInt8], length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    let count = length ?? UInt64(text.count)
    return withUnsafeBytes(of: count.littleEndian) { Array($0) } + text + data
}
