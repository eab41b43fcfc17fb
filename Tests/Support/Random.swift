import MMQBase

/// Seeded numbers for tests (SplitMix64): the same on every machine and run.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var random: SplitMix64

    /// A generator; equal seeds give equal numbers.
    public init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// The next 64 bits.
    public mutating func next() -> UInt64 { random.next() }

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
