import CSIMD
import MMQFormats
import Support
import Testing

/// The quantizers against the `gguf` Python package, bit for bit; every fast path against plain C.
@Suite struct QuantizerTests {
    static let types: [(name: String, type: csimd_type)] = [
        ("f16", CSIMD_F16), ("bf16", CSIMD_BF16), ("q8_0", CSIMD_Q8_0), ("q4_0", CSIMD_Q4_0),
    ]
    static let cases = [
        "normal", "half", "scaled", "bits", "subnormal", "ties8", "ties4", "zeros",
    ]

    typealias Quantize =
        @Sendable (csimd_type, UnsafePointer<Float>?, UnsafeMutableRawPointer?, Int) -> Bool

    static func blocks(
        _ type: csimd_type, _ values: [Float], rows: Int, _ quantize: Quantize
    ) -> [UInt8] {
        let cols = values.count / rows
        let rowBytes = csimd_row_bytes(type, cols)
        var output = [UInt8](repeating: 0xaa, count: rows * rowBytes)
        output.withUnsafeMutableBytes { bytes in
            values.withUnsafeBufferPointer { values in
                for row in 0..<rows {
                    let fits = quantize(
                        type, values.baseAddress.map { $0 + row * cols },
                        bytes.baseAddress.map { $0 + row * rowBytes }, cols)
                    #expect(fits)
                }
            }
        }
        return output
    }

    @Test(arguments: cases)
    func equalsReference(_ name: String) throws {
        let golden = try Golden.tensors("formats/quantize.safetensors")
        let values = try golden.floats(name)
        let rows = try golden.tensor(name).shape[0]
        for (typeName, type) in Self.types {
            let expected = try golden.bytes("\(name).\(typeName)")
            let fast = Self.blocks(type, values, rows: rows) { csimd_quantize_row($0, $1, $2, $3) }
            let plain = Self.blocks(type, values, rows: rows) {
                csimd_quantize_row_scalar($0, $1, $2, $3)
            }
            #expect(fast == expected, "\(name) to \(typeName)")
            #expect(plain == expected, "\(name) to \(typeName), plain C")
        }
    }

    @Test(arguments: cases)
    func dequantizesAsReference(_ name: String) throws {
        let golden = try Golden.tensors("formats/quantize.safetensors")
        for (typeName, type) in Self.types {
            let blocks = try golden.bytes("\(name).\(typeName)")
            let expected = try golden.floats("\(name).\(typeName).back").map(\.bitPattern)
            var values = [Float](repeating: .nan, count: expected.count)
            // All rows at once: rows are whole blocks.
            #expect(csimd_dequantize_row(type, blocks, &values, values.count))
            #expect(values.map(\.bitPattern) == expected, "\(typeName) to \(name)")
        }
    }

    @Test func fastPathsEqualPlainC() {
        var random = SeededRandom(seed: 11)
        for scale: Float in [1e-38, 1e-7, 0.02, 1, 300, 60000] {
            let values = random.normals(64 * 32 * 8, deviation: scale)
            for (name, type) in Self.types {
                let fast = Self.blocks(type, values, rows: 8) { csimd_quantize_row($0, $1, $2, $3) }
                let plain = Self.blocks(type, values, rows: 8) {
                    csimd_quantize_row_scalar($0, $1, $2, $3)
                }
                #expect(fast == plain, "\(name) at \(scale)")
            }
        }
    }

    @Test func unalignedRows() {
        var random = SeededRandom(seed: 12)
        let values = random.normals(96 + 1)
        for (name, type) in Self.types {
            let bytes = csimd_row_bytes(type, 96)
            var aligned = [UInt8](repeating: 0, count: bytes)
            var shifted = [UInt8](repeating: 0, count: bytes + 2)
            values.withUnsafeBufferPointer { values in
                let input = values.baseAddress.map { $0 + 1 }
                #expect(csimd_quantize_row(type, input, &aligned, 96))
                shifted.withUnsafeMutableBytes {
                    _ = csimd_quantize_row_scalar(type, input, $0.baseAddress.map { $0 + 2 }, 96)
                }
            }
            #expect(aligned == Array(shifted.dropFirst(2)), "\(name)")
        }
    }

    @Test func everyHalfConvertsBothWays() {
        let halves = (0...UInt16.max).map { $0 }
        var fast = [Float](repeating: 0, count: halves.count)
        var plain = fast
        csimd_f16_to_f32(halves, &fast, halves.count)
        csimd_f16_to_f32_scalar(halves, &plain, halves.count)
        #expect(fast.map(\.bitPattern) == plain.map(\.bitPattern))
        #expect(fast[0x3c00] == 1 && fast[1] == 0x1p-24 && fast[0x7bff] == 65504)
        var back = [UInt16](repeating: 0, count: halves.count)
        csimd_f32_to_f16(fast, &back, halves.count)
        for half in halves where half & 0x7fff <= 0x7c00 {
            #expect(back[Int(half)] == half)
            #expect(csimd_f32_to_f16_one(csimd_f16_to_f32_one(half)) == half)
        }
    }

    @Test func halvesRoundToNearestEven() {
        let one: Float = 1
        // 1 + 2^-11 lies halfway between 1 and the next half.
        #expect(csimd_f32_to_f16_one(one + 0x1p-11) == 0x3c00)
        #expect(csimd_f32_to_f16_one(one + 0x3p-11) == 0x3c02)
        #expect(csimd_f32_to_f16_one((one + 0x1p-11).nextUp) == 0x3c01)
        #expect(csimd_f32_to_f16_one(65519.996) == 0x7bff)
        #expect(csimd_f32_to_f16_one(65520) == 0x7c00)
        #expect(csimd_f32_to_f16_one(0x1p-25) == 0)
        #expect(csimd_f32_to_f16_one((0x1p-25 as Float).nextUp) == 1)
        #expect(csimd_f32_to_f16_one(-0.0) == 0x8000)
        var brain: [UInt16] = [0, 0, 0]
        csimd_f32_to_bf16([one + 0x1p-8, one + 0x3p-8, .nan], &brain, 3)
        #expect(brain[0] == 0x3f80 && brain[1] == 0x3f82 && brain[2] & 0x7fff > 0x7f80)
    }

    @Test func refusesPartialBlocks() {
        var output = [UInt8](repeating: 0, count: 256)
        let values = [Float](repeating: 1, count: 48)
        for type in [CSIMD_Q8_0, CSIMD_Q4_0] {
            #expect(csimd_row_bytes(type, 48) == 0)
            #expect(!csimd_quantize_row(type, values, &output, 48))
            var back = values
            #expect(!csimd_dequantize_row(type, output, &back, 48))
        }
        #expect(csimd_row_bytes(csimd_type(rawValue: 12), 256) == 0)
    }

    @Test func findsWhatCannotBeStored() {
        var values = [Float](repeating: 0.5, count: 200)
        for type in [CSIMD_F32, CSIMD_F16, CSIMD_BF16, CSIMD_Q8_0, CSIMD_Q4_0] {
            #expect(csimd_first_unstorable(type, values, values.count) == 200)
            for place in [0, 63, 64, 130, 199] {
                for bad in [Float.nan, .infinity, -.infinity] {
                    values[place] = bad
                    #expect(csimd_first_unstorable(type, values, values.count) == place)
                    values[place] = 0.5
                }
            }
        }
        values[70] = -65520
        #expect(csimd_first_unstorable(CSIMD_F16, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_BF16, values, values.count) == 200)
        #expect(csimd_first_unstorable(CSIMD_Q4_0, values, values.count) == 200)
        values[70] = 0x1p20
        #expect(csimd_first_unstorable(CSIMD_Q4_0, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_Q8_0, values, values.count) == 200)
        values[70] = 0x1p24
        #expect(csimd_first_unstorable(CSIMD_Q8_0, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_F32, values, values.count) == 200)
    }
}
