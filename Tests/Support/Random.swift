/// Seeded numbers for tests (SplitMix64): the same on every machine and run.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator; equal seeds give equal numbers.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// A number from 0 to below 1, a multiple of 2^-24.
    public mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// `count` numbers from `range`.
    public mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
        (0..<count).map { _ in
            range.lowerBound + (range.upperBound - range.lowerBound) * uniform()
        }
    }

    /// `count` numbers, close to normal with that standard deviation (sum of twelve uniforms).
    public mutating func normals(_ count: Int, deviation: Float = 1) -> [Float] {
        (0..<count).map { _ in
            var sum: Float = -6
            for _ in 0..<12 { sum += uniform() }
            return sum * deviation
        }
    }
}
