/// MT19937 (Matsumoto and Nishimura, 1998), as CPython's `random` and numpy's legacy `RandomState`
/// use it.
///
/// The two seed it differently and draw bounded integers differently, which is why there are two
/// initialisers and two ways of drawing.
struct MersenneTwister {
    private static let size = 624
    private static let middle = 397

    private var state: [UInt32]
    private var position: Int

    /// Knuth's seeding, numpy's `RandomState(seed)` for a 32-bit integer.
    init(numpySeed seed: UInt32) {
        state = [UInt32](repeating: 0, count: Self.size)
        state[0] = seed
        for i in 1..<Self.size {
            state[i] = 1_812_433_253 &* (state[i - 1] ^ (state[i - 1] >> 30)) &+ UInt32(i)
        }
        position = Self.size
    }

    /// Seeding by array, CPython's `random.Random(seed)` for a non-negative integer: the key is the
    /// integer's 32-bit words, lowest first.
    init(pythonSeed seed: UInt64) {
        self.init(numpySeed: 19_650_218)
        var key = [UInt32(truncatingIfNeeded: seed)]
        if seed >> 32 != 0 { key.append(UInt32(seed >> 32)) }
        var i = 1
        var j = 0
        for _ in 0..<max(Self.size, key.count) {
            let previous = state[i - 1] ^ (state[i - 1] >> 30)
            state[i] = (state[i] ^ (previous &* 1_664_525)) &+ key[j] &+ UInt32(j)
            i += 1
            j += 1
            if i == Self.size {
                state[0] = state[Self.size - 1]
                i = 1
            }
            if j == key.count { j = 0 }
        }
        for _ in 1..<Self.size {
            let previous = state[i - 1] ^ (state[i - 1] >> 30)
            state[i] = (state[i] ^ (previous &* 1_566_083_941)) &- UInt32(i)
            i += 1
            if i == Self.size {
                state[0] = state[Self.size - 1]
                i = 1
            }
        }
        state[0] = 0x8000_0000
    }

    /// The next 32 random bits.
    mutating func next() -> UInt32 {
        if position == Self.size { refill() }
        var y = state[position]
        position += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9d2c_5680
        y ^= (y << 15) & 0xefc6_0000
        y ^= y >> 18
        return y
    }

    private mutating func refill() {
        for i in 0..<Self.size {
            let next = state[(i + 1) % Self.size]
            let y = (state[i] & 0x8000_0000) | (next & 0x7fff_ffff)
            let twist: UInt32 = y & 1 == 0 ? 0 : 0x9908_b0df
            state[i] = state[(i + Self.middle) % Self.size] ^ (y >> 1) ^ twist
        }
        position = 0
    }

    /// A number in 0..<bound as CPython draws it: as many high bits as `bound` has, again while
    /// that is too large.
    mutating func pythonBelow(_ bound: UInt32) -> UInt32 {
        let bits = UInt32(32 - bound.leadingZeroBitCount)
        while true {
            let value = next() >> (32 - bits)
            if value < bound { return value }
        }
    }

    /// A number in 0...greatest as numpy's legacy generator draws it: the low bits under a mask,
    /// again while that is too large. No bits are drawn for 0.
    mutating func numpyUpTo(_ greatest: UInt32) -> UInt32 {
        guard greatest > 0 else { return 0 }
        let mask = UInt32.max >> UInt32(greatest.leadingZeroBitCount)
        while true {
            let value = next() & mask
            if value <= greatest { return value }
        }
    }
}
