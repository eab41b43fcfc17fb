/// PCG64 (O'Neill, 2014: 128-bit linear congruential state, XSL-RR output) seeded through numpy's
/// `SeedSequence`: the generator behind `numpy.random.default_rng(seed)`.
struct PCG64 {
    private var high: UInt64
    private var low: UInt64
    private let incrementHigh: UInt64
    private let incrementLow: UInt64
    /// The upper half of a 64-bit output of which only the lower half was used.
    private var spare: UInt32?

    private static let multiplierHigh: UInt64 = 0x2360_ed05_1fc6_5da4
    private static let multiplierLow: UInt64 = 0x4385_df64_9fcc_f645

    /// `numpy.random.default_rng(seed)` for a 32-bit integer.
    init(seed: UInt32) {
        let words = seedSequence(entropy: seed, words: 8)
        let wide = (0..<4).map { place -> UInt64 in
            let lower = UInt64(words[2 * place])
            let upper = UInt64(words[2 * place + 1])
            return upper << 32 | lower
        }
        // The stream number is shifted left and made odd.
        incrementHigh = wide[2] << 1 | wide[3] >> 63
        incrementLow = wide[3] << 1 | 1
        (high, low) = (0, 0)
        step()
        let (sum, carry) = low.addingReportingOverflow(wide[1])
        low = sum
        high = high &+ wide[0] &+ (carry ? 1 : 0)
        step()
    }

    private mutating func step() {
        let product = low.multipliedFullWidth(by: Self.multiplierLow)
        let upper =
            product.high &+ low &* Self.multiplierHigh &+ high &* Self.multiplierLow
        let (sum, carry) = product.low.addingReportingOverflow(incrementLow)
        low = sum
        high = upper &+ incrementHigh &+ (carry ? 1 : 0)
    }

    private mutating func next64() -> UInt64 {
        step()
        let folded = high ^ low
        let turn = high >> 58
        return folded >> turn | folded << ((64 - turn) & 63)
    }

    /// The next 32 random bits: the lower half of a 64-bit output, then its upper half.
    private mutating func next32() -> UInt32 {
        if let value = spare {
            spare = nil
            return value
        }
        let value = next64()
        spare = UInt32(value >> 32)
        return UInt32(truncatingIfNeeded: value)
    }

    /// A number in 0...greatest as numpy's `Generator.shuffle` draws it: the low bits under a mask,
    /// again while that is too large. (`Generator.integers` draws otherwise.) No bits are drawn
    /// for 0.
    mutating func upTo(_ greatest: UInt32) -> UInt32 {
        guard greatest > 0 else { return 0 }
        let mask = UInt32.max >> UInt32(greatest.leadingZeroBitCount)
        while true {
            let value = next32() & mask
            if value <= greatest { return value }
        }
    }
}

/// numpy's `SeedSequence(entropy).generate_state(words)` for a 32-bit integer: the entropy is
/// hashed into a pool of four words, the pool is mixed, and the state is hashed out of it.
private func seedSequence(entropy: UInt32, words: Int) -> [UInt32] {
    var constant: UInt32 = 0x43b0_d7e5
    func hash(_ value: UInt32) -> UInt32 {
        var value = value ^ constant
        constant = constant &* 0x931e_8875
        value = value &* constant
        return value ^ value >> 16
    }
    func mix(_ x: UInt32, _ y: UInt32) -> UInt32 {
        let value = x &* 0xca01_f9dd &- y &* 0x4973_f715
        return value ^ value >> 16
    }
    var pool = [entropy, 0, 0, 0].map(hash)
    for source in 0..<4 {
        for target in 0..<4 where target != source {
            pool[target] = mix(pool[target], hash(pool[source]))
        }
    }
    var outConstant: UInt32 = 0x8b51_f9dd
    return (0..<words).map { i in
        var value = pool[i % 4] ^ outConstant
        outConstant = outConstant &* 0x58f3_8ded
        value = value &* outConstant
        return value ^ value >> 16
    }
}
