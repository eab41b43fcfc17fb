import CSIMD
import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@Suite struct GGUFTests {
    /// What is written in pieces is mapped by large pages, and so is what comes from the disk.
    @Test(.enabled(if: LargePageProbe.kernelMapsFiles, "\(LargePageProbe.notRun)"))
    func isMappedByLargePages() throws {
        let folder = try TemporaryFolder()
        let path = folder("large.gguf")
        let piece = [UInt8](repeating: 7, count: 256_000)
        let writer = try GGUFWriter(
            path: path, metadata: [],
            tensors: [.init(name: "w", type: .f32, shape: [40, piece.count / 4])])
        for number in 0..<40 {
            try piece.withUnsafeBytes { try writer.write("w", $0, at: number * piece.count) }
        }
        try writer.commit()
        for isForgotten in [false, true] {
            if isForgotten { try #require(LargePageProbe.forget(path)) }
            let file = try GGUFFile(path: path)
            let large = try withExtendedLifetime(file) {
                try LargePageProbe.bytes(of: path, after: file.bytes(file.tensor("w")))
            }
            #expect(large >= 2 << 20, "forgotten: \(isForgotten)")
        }
    }

    /// A file written by the `gguf` package.
    @Test func readsReferenceFile() throws {
        let file = try GGUFFile(path: Golden.path("formats/every-value.gguf"))
        let metadata = file.metadata
        #expect(file.version == 3 && file.alignment == 32)
        #expect(try metadata.string("general.architecture") == "llama")
        #expect(metadata["a.uint8"] == .uint8(200))
        #expect(metadata["a.int8"] == .int8(-100))
        #expect(metadata["a.uint16"] == .uint16(60000))
        #expect(metadata["a.int16"] == .int16(-30000))
        #expect(metadata["a.uint32"] == .uint32(4_000_000_000))
        #expect(metadata["a.int32"] == .int32(-2_000_000_000))
        #expect(metadata["a.uint64"] == .uint64(.max))
        #expect(metadata["a.int64"] == .int64(.min))
        #expect(metadata["a.float32"] == .float32(0.1))
        #expect(metadata["a.float64"] == .float64(0.1))
        #expect(metadata["a.true"] == .bool(true) && metadata["a.false"] == .bool(false))
        #expect(try metadata.string("a.string") == "Grüße 🦙")
        #expect(
            try metadata.strings("a.strings") == ["", "▁the", "<0x0A>"].map { Array($0.utf8) })
        #expect(try metadata.floats("a.floats") == [1.5, -2.25])
        #expect(try metadata.integers("a.integers") == [1, -2, 3])
        for (name, facts) in try Golden.json("formats/every-value.json").members ?? [] {
            let tensor = try file.tensor(name)
            #expect(tensor.type.name == facts["type"]?.text)
            #expect(tensor.shape == facts["shape"]?.array?.compactMap(\.integer))
            let bits = facts["bits"]?.array?.compactMap(\.integer)
            #expect(try file.floats(name).map { Int($0.bitPattern) } == bits, "\(name)")
        }
        #expect(file.tensors.count == 6)
    }

    /// Reading and writing again gives the reference's file to the byte.
    @Test func writesAsReference() throws {
        let folder = try TemporaryFolder()
        let source = try Golden.path("formats/every-value.gguf")
        let file = try GGUFFile(path: source)
        let path = folder("copy.gguf")
        let writer = try GGUFWriter(
            path: path, metadata: file.metadata.members,
            tensors: file.tensors.map { .init(name: $0.name, type: $0.type, shape: $0.shape) })
        for tensor in file.tensors.reversed() {
            try writer.write(tensor.name, file.bytes(tensor))
        }
        try writer.commit()
        let copy = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(copy == (try Data(contentsOf: URL(fileURLWithPath: source))))
        #expect(copy.count == writer.byteCount)
        #expect(try folder.entries() == ["copy.gguf"])
    }

    @Test func writerChecksItself() throws {
        let folder = try TemporaryFolder()
        func code(
            _ metadata: [(key: String, value: GGUFValue)], _ tensors: [GGUFWriter.Declaration]
        ) -> InputError.Code? {
            do {
                _ = try GGUFWriter(path: folder("x.gguf"), metadata: metadata, tensors: tensors)
                return nil
            } catch { return (error as? InputError)?.code }
        }
        let w = GGUFWriter.Declaration(name: "w", type: .f32, shape: [2])
        #expect(code([], [w]) == nil)
        #expect(code([], [w, w]) == .duplicate)
        #expect(code([("k", .bool(true)), ("k", .bool(true))], []) == .duplicate)
        #expect(code([], [.init(name: "w", type: .q8_0, shape: [48])]) == .badShape)
        #expect(code([], [.init(name: "w", type: .f32, shape: [.max, 4])]) == .badShape)
        let name = String(repeating: "n", count: 64)
        #expect(code([], [.init(name: name, type: .f32, shape: [1])]) == .tooLarge)
        #expect(try folder.entries() == [])

        let writer = try GGUFWriter(path: folder("y.gguf"), metadata: [], tensors: [w])
        let error = #expect(throws: InputError.self) { try writer.commit() }
        #expect(error?.code == .writeFailed && error?.item == "tensor 'w'")
        [Float(1), 2, 3].withUnsafeBytes { bytes in
            #expect(throws: InputError.self) { try writer.write("w", bytes) }
            #expect(throws: InputError.self) { try writer.write("v", bytes) }
        }
        writer.abandon()
        #expect(try folder.entries() == [])
    }

    @Test func unwritableFolder() throws {
        let error = #expect(throws: InputError.self) {
            try GGUFWriter(path: "/nonexistent/x.gguf", metadata: [], tensors: [])
        }
        #expect(error?.code == .writeFailed)
    }

    /// A killed run leaves a partial file, which the next run replaces; the old file stays whole
    /// until then.
    @Test func leftoversAreReplaced() throws {
        let folder = try TemporaryFolder()
        try folder.write("x.gguf.partial", [UInt8](repeating: 7, count: 100_000))
        try folder.write("x.gguf", [1, 2, 3])
        let writer = try GGUFWriter(
            path: folder("x.gguf"), metadata: [("k", .uint32(5))],
            tensors: [.init(name: "w", type: .f32, shape: [2])])
        let before = try Data(contentsOf: URL(fileURLWithPath: folder("x.gguf")))
        #expect(Array(before) == [1, 2, 3])
        try [Float(1), 2].withUnsafeBytes { try writer.write("w", $0) }
        try writer.commit()
        let file = try GGUFFile(path: folder("x.gguf"))
        #expect(try file.floats("w") == [1, 2] && file.byteCount == writer.byteCount)
        #expect(try folder.entries() == ["x.gguf"])
    }

    @Test func typeSizesAreThoseOfGGML() {
        // Bytes per block from gguf.constants.GGML_QUANT_SIZES.
        let sizes: [(GGUFTensorType, Int, Int)] = [
            (.f32, 1, 4), (.f16, 1, 2), (.q4_0, 32, 18), (.q4_1, 32, 20), (.q5_0, 32, 22),
            (.q5_1, 32, 24), (.q8_0, 32, 34), (.q8_1, 32, 36), (.q2_K, 256, 84), (.q3_K, 256, 110),
            (.q4_K, 256, 144), (.q5_K, 256, 176), (.q6_K, 256, 210), (.q8_K, 256, 292),
            (.iq2_xxs, 256, 66), (.iq2_xs, 256, 74), (.iq3_xxs, 256, 98), (.iq1_s, 256, 50),
            (.iq4_nl, 32, 18), (.iq3_s, 256, 110), (.iq2_s, 256, 82), (.iq4_xs, 256, 136),
            (.i8, 1, 1), (.i16, 1, 2), (.i32, 1, 4), (.i64, 1, 8), (.f64, 1, 8), (.iq1_m, 256, 56),
            (.bf16, 1, 2), (.tq1_0, 256, 54), (.tq2_0, 256, 66), (.mxfp4, 32, 17),
        ]
        #expect(sizes.count == GGUFTensorType.allCases.count)
        for (type, elements, bytes) in sizes {
            #expect(type.blockElements == elements && type.blockBytes == bytes, "\(type)")
            // The kernels walk rows by sizes of their own.
            guard let kernel = type.kernelType else { continue }
            for blocks in [1, 3, 16] {
                #expect(csimd_row_bytes(kernel, blocks * elements) == blocks * bytes, "\(type)")
            }
            for cols in [1, elements / 2, elements + elements / 2] where cols % elements != 0 {
                #expect(csimd_row_bytes(kernel, cols) == 0, "\(type)")
            }
        }
        #expect(GGUFTensorType.q4_K.name == "Q4_K" && GGUFTensorType.bf16.name == "BF16")
    }
}
