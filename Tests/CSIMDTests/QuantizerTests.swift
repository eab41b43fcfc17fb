import CSIMD
import Support
import Testing

/// The quantizers of every instruction set against the `gguf` Python package and plain C, bit for bit.
@Suite struct QuantizerTests {
    static let types: [(name: String, type: csimd_type)] = [
        ("f16", CSIMD_F16), ("bf16", CSIMD_BF16), ("q8_0", CSIMD_Q8_0), ("q4_0", CSIMD_Q4_0),
    ]
    /// The types with a scale that is searched: no reference quantizer's bits to equal.
    static let searched: [(name: String, type: csimd_type)] = [
        ("iq4_nl", CSIMD_IQ4_NL), ("q4_1", CSIMD_Q4_1), ("q5_0", CSIMD_Q5_0),
        ("q5_1", CSIMD_Q5_1), ("q4_k", CSIMD_Q4_K), ("q5_k", CSIMD_Q5_K), ("q6_k", CSIMD_Q6_K),
    ]
    /// The types with a scale that is searched if there is importance, else to the bit as ggml has it.
    static let searchedByImportance: [(name: String, type: csimd_type)] = [
        ("q8_0", CSIMD_Q8_0), ("q4_0", CSIMD_Q4_0),
    ]
    static let cases = [
        "normal", "half", "scaled", "bits", "subnormal", "ties8", "ties4", "zeros",
    ]

    /// Rows of `values` in `type`, one call a row; `shift` floats and twice as many bytes past
    /// aligned addresses.
    static func blocks(
        _ type: csimd_type, _ values: [Float], importance: [Float]? = nil, rows: Int,
        shift: Int = 0
    ) -> [UInt8] {
        let cols = values.count / rows
        let rowBytes = csimd_row_bytes(type, cols)
        let input = [Float](repeating: 0, count: shift) + values
        var output = [UInt8](repeating: 0xaa, count: 2 * shift + rows * rowBytes)
        output.withUnsafeMutableBytes { bytes in
            input.withUnsafeBufferPointer { values in
                for row in 0..<rows {
                    let fits = csimd_quantize_row(
                        type, values.baseAddress.map { $0 + shift + row * cols }, importance,
                        bytes.baseAddress.map { $0 + 2 * shift + row * rowBytes }, cols)
                    #expect(fits)
                }
            }
        }
        #expect(output.prefix(2 * shift).allSatisfy { $0 == 0xaa })
        return Array(output.dropFirst(2 * shift))
    }

    /// What `bytes` of one row stand for, bit for bit; `shift` as above.
    static func values(
        _ type: csimd_type, _ bytes: [UInt8], count: Int, shift: Int = 0
    ) -> [UInt32] {
        let input = [UInt8](repeating: 0, count: 2 * shift) + bytes
        var output = [Float](repeating: -7, count: shift + count + 1)
        input.withUnsafeBytes { input in
            output.withUnsafeMutableBufferPointer { output in
                let fits = csimd_dequantize_row(
                    type, input.baseAddress.map { $0 + 2 * shift },
                    output.baseAddress.map { $0 + shift }, count)
                #expect(fits)
            }
        }
        #expect(output.prefix(shift).allSatisfy { $0 == -7 } && output.last == -7)
        return output.dropFirst(shift).dropLast().map(\.bitPattern)
    }

    @Test(arguments: cases)
    func equalsReference(_ name: String) throws {
        let golden = try Golden.tensors("formats/quantize.safetensors")
        let values = try golden.floats(name)
        let rows = try golden.tensor(name).shape[0]
        for (typeName, type) in Self.types {
            let expected = try golden.bytes("\(name).\(typeName)")
            forEachISA { isa in
                let blocks = Self.blocks(type, values, rows: rows)
                #expect(blocks == expected, "\(name) to \(typeName), \(isa)")
            }
        }
    }

    @Test func dequantizesAnyBlocksAsReference() throws {
        let golden = try Golden.tensors("formats/quantize.safetensors")
        for (name, type) in Self.searched {
            let blocks = try golden.bytes("any.\(name)")
            let expected = try golden.floats("any.\(name).back").map(\.bitPattern)
            forEachISA { isa in
                let values = Self.values(type, blocks, count: expected.count)
                #expect(values == expected, "\(name), \(isa)")
            }
        }
    }

    /// The searched scales leave no more error, weighed with importance, than ggml's quantizers do.
    @Test(arguments: searched + [("q4_0", CSIMD_Q4_0)])
    func leavesNoMoreErrorThanGGML(_ name: String, _ type: csimd_type) throws {
        let golden = try Golden.tensors("ggml/blocks.safetensors")
        let importance = try golden.floats("importance")
        for kind in ["normal", "heavy"] {
            let values = try golden.floats(kind)
            let rows = values.count / importance.count
            for weighted in [false, true] {
                let weights =
                    weighted ? importance : [Float](repeating: 1, count: importance.count)
                func error(_ blocks: [UInt8]) -> Double {
                    let back = Self.values(type, blocks, count: values.count)
                    return values.indices.reduce(0) {
                        let difference = Double(values[$1]) - Double(Float(bitPattern: back[$1]))
                        return $0 + difference * difference
                            * Double(weights[$1 % importance.count])
                    }
                }
                let theirs = try golden.bytes("\(kind).\(name)\(weighted ? ".weighted" : "")")
                forEachISA { isa in
                    let ours = Self.blocks(
                        type, values, importance: weighted ? importance : nil, rows: rows)
                    // Q4_0 without importance is ggml's own to the bit; ggml searches the types
                    // with offsets as well.
                    let share = error(ours) / error(theirs)
                    let most =
                        switch type {
                        case CSIMD_Q4_0: weighted ? 0.95 : 1
                        case CSIMD_IQ4_NL, CSIMD_Q5_0, CSIMD_Q6_K: weighted ? 0.85 : 0.95
                        default: 0.99
                        }
                    #expect(
                        share <= most,
                        "\(name) \(kind) \(weighted) \(isa): \(share)")
                }
            }
        }
    }

    /// Q8_0 with importance: no scale is much better than ggml's, but the best of some leaves far less
    /// of what counts.
    @Test func searchedBytesLeaveFarLess() throws {
        let golden = try Golden.tensors("ggml/blocks.safetensors")
        let importance = try golden.floats("importance")
        for kind in ["normal", "heavy"] {
            let values = try golden.floats(kind)
            let weights = values.indices.map { importance[$0 % importance.count] }
            let plain = Self.blocks(CSIMD_Q8_0, values, rows: 1)
            let ours = Self.share(CSIMD_Q8_0, values, importance: weights)
            let theirs = Self.share(CSIMD_Q8_0, values, blocks: plain, importance: weights)
            #expect(ours < 0.6 * theirs, "\(kind): \(ours / theirs)")
        }
    }

    /// What counts more is kept closer; what counts nothing does not matter; a block of which
    /// nothing counts is quantized as if all did.
    @Test func importanceDecidesWhichErrorsRemain() {
        var random = SeededRandom(seed: 12)
        let values = random.normals(32 * 64)
        let importance = (0..<256).map { Float($0 % 4 == 0 ? 1 : 0) }
        for (name, type) in Self.searchedByImportance + Self.searched {
            func errors(_ importance: [Float]?) -> (counting: Double, others: Double) {
                let blocks = Self.blocks(type, values, importance: importance, rows: 8)
                let back = Self.values(type, blocks, count: values.count)
                return values.indices.reduce(into: (0, 0)) {
                    let error = Double(values[$1]) - Double(Float(bitPattern: back[$1]))
                    if $1 % 4 == 0 {
                        $0.counting += error * error
                    } else {
                        $0.others += error * error
                    }
                }
            }
            let (plain, chosen) = (errors(nil), errors(importance))
            #expect(
                chosen.counting < plain.counting && chosen.others > plain.others,
                "\(name): \(chosen), all alike \(plain)")
            if type == CSIMD_Q4_0 {
                // Next to the best of a thousand scales for what counts in each block.
                let best = stride(from: 0, to: values.count, by: 32).reduce(0.0) { sum, block in
                    let counting = stride(from: block, to: block + 32, by: 4)
                        .map { Double(values[$0]) }
                    let greatest = counting.map(\.magnitude).max() ?? 0
                    return sum
                        + ((-500...500).map { step -> Double in
                            let scale = greatest / 8 * Double(step) / 400
                            return counting.reduce(0) {
                                let level = scale == 0 ? 0 : ($1 / scale).rounded()
                                let error = $1 - scale * min(7, max(-8, level))
                                return $0 + error * error
                            }
                        }.min() ?? 0)
                }
                #expect(chosen.counting < 1.05 * best, "\(chosen.counting), best \(best)")
            }
            let even = errors([Float](repeating: 3, count: 256))
            let nothing = errors([Float](repeating: 0, count: 256))
            #expect(even == nothing, "\(name)")
        }
    }

    /// The squared error of a row's way to `type` (or `blocks` of it) and back, next to its squares,
    /// both weighted.
    private static func share(
        _ type: csimd_type, _ values: [Float], blocks: [UInt8]? = nil, importance: [Float]? = nil
    ) -> Double {
        let blocks = blocks ?? Self.blocks(type, values, importance: importance, rows: 1)
        let back = Self.values(type, blocks, count: values.count).map(Float.init(bitPattern:))
        var error = 0.0, size = 0.0
        for i in values.indices {
            let weight = Double(importance?[i] ?? 1)
            let difference = Double(values[i]) - Double(back[i])
            error += weight * difference * difference
            size += weight * Double(values[i]) * Double(values[i])
        }
        return error / size
    }

    /// A block of which all values are the same has no range, but a value: next to nothing is lost,
    /// whether it is all of a row or one block of it.
    @Test(arguments: searched + searchedByImportance)
    func constantBlocksKeepTheirValue(_ name: String, _ type: csimd_type) {
        let importance = (0..<256).map { Float($0 % 7) }
        let hasOffset = [CSIMD_Q4_1, CSIMD_Q5_1, CSIMD_Q4_K, CSIMD_Q5_K].contains(type)
        // Half floats of 11 bits, at 3e-4 scales of fewer: then an offset says more than a scale.
        let most = hasOffset ? 0x1p-18 : 0x1p-13
        for value in [Float(0.5), -0.5, 0.1, -0.1, 3e-4, -3e-4, 65000, -65000] {
            for weights in [nil, importance] {
                let row = [Float](repeating: value, count: 256)
                let share = Self.share(type, row, importance: weights)
                #expect(share <= most, "\(name) of \(value): \(share.squareRoot())")
            }
            // Hardly more than alike.
            let row = (0..<256).map { value * (1 + Float($0 % 3) * 0x1p-20) }
            #expect(Self.share(type, row) <= most, "\(name) of nearly \(value)")
            var mixed = [Float](repeating: value, count: 32)
            mixed += (32..<256).map { value * Float(($0 * 37) % 101) / 101 }
            let blocks = Self.blocks(type, mixed, rows: 1)
            let back = Self.values(type, blocks, count: 256).map(Float.init(bitPattern:))
            #expect(
                back.prefix(32).allSatisfy { abs($0 - value) <= abs(value) / 64 },
                "\(name) of \(value) among others: \(back[0])")
        }
    }

    /// Rows at the end of what a half float holds, of either sign, come back as numbers; rows of next
    /// to nothing are never worse than zeros.
    @Test(arguments: searched)
    func endsOfTheRange(_ name: String, _ type: csimd_type) {
        var random = SeededRandom(seed: 14)
        for round in 0..<300 {
            let sign: Float = round % 2 == 0 ? 1 : -1
            // An offset beyond the least value may fit best.
            let width = Float(round + 1) * 20
            let row = (0..<256).map { _ in sign * (65_503 - width * random.uniform()) }
            let back = Self.values(type, Self.blocks(type, row, rows: 1), count: 256)
            #expect(
                back.allSatisfy { Float(bitPattern: $0).isFinite }, "\(name), \(row[0]) \(width)")
            let tiny = (0..<256).map { _ in (random.uniform() - 0.5) * 0x1p-24 * width / 1000 }
            let importance = (0..<256).map { _ in random.uniform() }
            #expect(
                Self.share(type, tiny, importance: importance) <= 1.000_001, "\(name) \(width)")
        }
    }

    /// Where one value is all that counts, several scales are as good: the least is taken, which a half
    /// float holds where any does, and what a scale beyond them would stand for is still a number.
    @Test(arguments: searchedByImportance + [("iq4_nl", CSIMD_IQ4_NL)])
    func oneGreatValueIsKept(_ name: String, _ type: csimd_type) {
        let even = [Float](repeating: 1, count: 32)
        let small = (0..<32).map { $0 == 0 ? Float(1e-24) : 1 }
        // A half float has eleven bits. IQ4_NL has no level for the zeros, which pull at the scale.
        let hasZero = type != CSIMD_IQ4_NL
        let tolerance: Float = hasZero ? 0x1p-11 : 0x1p-8
        let most: Float =
            switch type {
            case CSIMD_Q8_0: 65_503 * 127
            case CSIMD_Q4_0: 65_519 * 8
            default: 65_503 * 113
            }
        forEachISA { isa in
            for value in [Float(1), -1, 400_000, -400_000, 423_462, 500_000, -500_000, most, -most]
            {
                for importance in hasZero ? [even, small] : [even] {
                    let row = [value] + [Float](repeating: 0, count: 31)
                    let back = Self.values(
                        type, Self.blocks(type, row, importance: importance, rows: 1), count: 32
                    ).map(Float.init(bitPattern:))
                    #expect(
                        abs(back[0] - value) <= abs(value) * tolerance
                            && !back.contains(where: \.isNaN),
                        "\(name), \(isa): \(value) became \(back[0])")
                }
                // Both signs: one of them has an eighth less room.
                let both = (0..<32).map { $0 % 2 == 0 ? value : -value }
                let back = Self.values(
                    type, Self.blocks(type, both, importance: even, rows: 1), count: 32)
                #expect(
                    back.allSatisfy { Float(bitPattern: $0).isFinite }, "\(name), \(isa): \(value)")
            }
        }
        guard type == CSIMD_Q4_0 else { return }
        // A power of two is kept exactly.
        let one = [Float(1)] + [Float](repeating: 0, count: 31)
        let back = Self.values(type, Self.blocks(type, one, importance: even, rows: 1), count: 32)
        #expect(Float(bitPattern: back[0]) == 1)
        // Levels 7 and -4 would fit, at a scale beyond half floats: on the other side there are eight.
        for sign: Float in [1, -1] {
            let row = [sign * 520_000, sign * -297_143] + [Float](repeating: 0, count: 30)
            let back = Self.values(
                type, Self.blocks(type, row, importance: even, rows: 1), count: 32)
            #expect(abs(Float(bitPattern: back[0]) - row[0]) <= 520_000 / 16, "\(back[0])")
        }
    }

    /// Where scales are half floats of few bits, or among the greatest, a row loses hardly more than
    /// it does in the middle of their range.
    @Test(arguments: searched + searchedByImportance)
    func anyMagnitudeIsKept(_ name: String, _ type: csimd_type) {
        var random = SeededRandom(seed: 13)
        let even = (0..<1024).map { _ in random.uniform() * 2 - 1 }
        // Far below zero or somewhat above: an offset beyond the least value fits best.
        let skewed = (0..<1024).map { _ in
            let unit = random.uniform()
            return random.uniform() < 0.5 ? -(0.9 + 0.1 * unit) : unit
        }
        let importance = (0..<1024).map { _ in random.uniform() < 0.1 ? Float(1) : 1e-3 }
        let outermost =
            switch type {
            case CSIMD_IQ4_NL, CSIMD_Q8_0: 127
            case CSIMD_Q6_K: 32
            case CSIMD_Q5_1, CSIMD_Q5_K: 31
            case CSIMD_Q5_0: 16
            case CSIMD_Q4_0: 8
            default: 15
            }
        for (shape, values) in [("even", even), ("skewed", skewed)] {
            for weights in [nil, importance] {
                func share(_ magnitude: Float) -> Double {
                    Self.share(type, values.map { $0 * magnitude }, importance: weights)
                }
                let usual = share(1)
                for magnitude in [Float(1e-4), 1e-5, 65000] {
                    // The outermost level moves by half a step of the least halves; the greatest
                    // bound where an offset may lie.
                    let moved = Double(outermost) * 0x1p-25 / Double(magnitude)
                    let now = share(magnitude)
                    #expect(
                        now <= (magnitude > 1 ? 1.5 : 1.2) * usual + moved * moved,
                        "\(name), \(shape) \(magnitude): \(now), usual \(usual)")
                }
                // Whole steps of the least scale are all that there is. IQ4_NL's levels are 1 and 13
                // steps, and ggml's rules know no level but 0.
                let follows = Self.searchedByImportance.contains { $0.type == type }
                if type != CSIMD_IQ4_NL, !follows || weights != nil {
                    #expect(share(2e-7) < 0.1, "\(name), \(shape) 2e-7")
                }
            }
        }
    }

    @Test(arguments: cases)
    func dequantizesAsReference(_ name: String) throws {
        let golden = try Golden.tensors("formats/quantize.safetensors")
        for (typeName, type) in Self.types {
            let blocks = try golden.bytes("\(name).\(typeName)")
            let expected = try golden.floats("\(name).\(typeName).back").map(\.bitPattern)
            forEachISA { isa in
                // All rows at once: rows are whole blocks.
                let values = Self.values(type, blocks, count: expected.count)
                #expect(values == expected, "\(typeName) to \(name), \(isa)")
            }
        }
    }

    /// Numbers that quantizers meet and those they should not: by magnitude, then any bits at all,
    /// NaN and infinities among them, subnormals, zeros of both signs, blocks of one magnitude.
    static func hardNumbers(_ count: Int) -> [(name: String, values: [Float])] {
        var random = SeededRandom(seed: 11)
        var all = [Float(1e-38), 1e-30, 1e-7, 0.02, 1, 300, 60000, 1e38].map { scale in
            ("\(scale)", random.normals(count, deviation: scale))
        }
        func bits(_ name: String, _ make: (Int, UInt32) -> UInt32) {
            let values = (0..<count).map {
                Float(bitPattern: make($0, UInt32(truncatingIfNeeded: random.next())))
            }
            all.append((name, values))
        }
        bits("any bits") { _, bits in bits }
        bits("subnormals") { _, bits in bits & 0x807f_ffff }
        bits("zeros") { _, bits in bits & 0x8000_0000 }
        bits("one magnitude") { _, bits in bits & 0x8000_0000 | 0x3f80_0000 }
        bits("a NaN in each block") { i, bits in
            i % 33 == 0 ? bits | 0x7fc0_0000 : bits & 0x83ff_ffff
        }
        bits("an infinity in each block") { i, bits in
            i % 33 == 0 ? bits & 0x8000_0000 | 0x7f80_0000 : bits & 0x83ff_ffff
        }
        return all
    }

    /// Every instruction set gives plain C's bits, there and back, at every tail and any address, with
    /// importance too.
    @Test func everySetEqualsPlainC() {
        var random = SeededRandom(seed: 15)
        // Nothing counts in the first block, some in the others, over sixty powers of two.
        let importance = (0..<8 * 96).map { i in
            let exponent = Int(random.uniform() * 60) - 30
            return i < 32 || i % 5 == 0
                ? Float(0) : Float(sign: .plus, exponent: exponent, significand: 1)
        }
        for (kind, values) in Self.hardNumbers(8 * 96) {
            for (name, type) in Self.types + Self.searched + [("f32", CSIMD_F32)] {
                let isBlocks = csimd_row_bytes(type, 1) == 0
                let isLarge = csimd_row_bytes(type, 32) == 0
                for cols in isLarge
                    ? [256, 768]
                    : isBlocks ? [32, 96, 768] : [1, 7, 8, 9, 15, 16, 17, 31, 33, 96, 768]
                {
                    let row = Array(values.prefix(cols))
                    func weighed() -> [UInt8] {
                        Self.blocks(
                            type, row, importance: Array(importance.prefix(cols)), rows: 1)
                    }
                    let plain = withKernels(isa: "scalar", threads: 1) {
                        let blocks = Self.blocks(type, row, rows: 1)
                        return (blocks, Self.values(type, blocks, count: cols), weighed())
                    }
                    forEachISA { isa in
                        #expect(
                            weighed() == plain.2, "\(kind) weighed to \(name), \(cols), \(isa)")
                        for shift in [0, 1, 3] where shift == 0 || type != CSIMD_F32 {
                            let blocks = Self.blocks(type, row, rows: 1, shift: shift)
                            #expect(blocks == plain.0, "\(kind) to \(name), \(cols), \(isa)")
                            let back = Self.values(type, plain.0, count: cols, shift: shift)
                            #expect(back == plain.1, "\(kind) from \(name), \(cols), \(isa)")
                        }
                    }
                }
            }
        }
    }

    @Test func everyHalfConvertsBothWays() {
        let halves = (0...UInt16.max).map { $0 }
        let plain = halves.map(csimd_f16_to_f32_one)
        #expect(plain[0x3c00] == 1 && plain[1] == 0x1p-24 && plain[0x7bff] == 65504)
        forEachISA { isa in
            var wide = [Float](repeating: 0, count: halves.count)
            var back = [UInt16](repeating: 0, count: halves.count)
            csimd_f16_to_f32(halves, &wide, halves.count)
            #expect(wide.bits == plain.bits, "\(isa)")
            csimd_f32_to_f16(wide, &back, halves.count)
            #expect(back == plain.map(csimd_f32_to_f16_one), "\(isa)")
            var checks = Checks()
            for half in halves where half & 0x7fff <= 0x7c00 {
                checks.expect(back[Int(half)] == half, "\(isa) \(half)")
            }
            checks.report()
            csimd_bf16_to_f32(halves, &wide, halves.count)
            #expect(wide.bits == halves.map { UInt32($0) << 16 }, "\(isa)")
            csimd_f32_to_bf16(wide, &back, halves.count)
            for half in halves where half & 0x7fff <= 0x7f80 {
                checks.expect(back[Int(half)] == half, "\(isa) bf16 \(half)")
            }
            checks.report()
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
        for type in [CSIMD_Q8_0, CSIMD_Q4_0] + Self.searched.map(\.type) {
            #expect(csimd_row_bytes(type, 48) == 0)
            #expect(!csimd_quantize_row(type, values, nil, &output, 48))
            var back = values
            #expect(!csimd_dequantize_row(type, output, &back, 48))
        }
        for type in [CSIMD_Q4_K, CSIMD_Q5_K, CSIMD_Q6_K] {
            #expect(csimd_row_bytes(type, 256 + 32) == 0 && csimd_row_bytes(type, 512) > 0)
        }
        #expect(csimd_row_bytes(csimd_type(rawValue: 11), 256) == 0)
    }

    @Test func findsWhatCannotBeStored() {
        var values = [Float](repeating: 0.5, count: 200)
        for type in [
            CSIMD_F32, CSIMD_F16, CSIMD_BF16, CSIMD_Q8_0, CSIMD_Q4_0,
        ] + Self.searched.map(\.type) {
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
        #expect(csimd_first_unstorable(CSIMD_Q4_K, values, values.count) == 70)
        values[70] = 0x1p20
        #expect(csimd_first_unstorable(CSIMD_Q4_0, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_Q8_0, values, values.count) == 200)
        #expect(csimd_first_unstorable(CSIMD_IQ4_NL, values, values.count) == 200)
        values[70] = 0x1p24
        #expect(csimd_first_unstorable(CSIMD_IQ4_NL, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_Q8_0, values, values.count) == 70)
        #expect(csimd_first_unstorable(CSIMD_F32, values, values.count) == 200)
    }
}
