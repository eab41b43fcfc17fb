/// Sums of floating-point numbers that do not depend on the order of the additions, nor on how the
/// numbers were divided among several sums that were added up in the end.
///
/// Each sum is a 128-bit integer of steps of 2⁻⁶⁴ (two's complement): an addend is rounded to the
/// nearest step, half to even, and integers are added exactly. Addends of 2⁻¹² or more lose nothing
/// in that. A sum that an addend made no number of (NaN, infinite, or of a magnitude of 2⁴⁶ or more,
/// of which 2¹⁷ could overflow) is NaN from then on.
public struct ExactSums: Sendable, Equatable {
    /// Low and high 64 bits of each sum, one after the other.
    private var words: [UInt64]

    /// The greatest addend's magnitude, and no addend.
    public static let limit = 0x1p46
    /// The high word of NaN: the least integer, which no sum reaches.
    private static let nan = UInt64(bitPattern: .min)

    /// `count` sums of nothing.
    public init(count: Int) { words = Array(repeating: 0, count: 2 * count) }

    /// The sums as they are stored: 16 bytes each, little-endian.
    ///
    /// - Returns: nil if the number of words is odd.
    public init?(words: [UInt64]) {
        guard words.count.isMultiple(of: 2) else { return nil }
        self.words = words
    }

    /// Low and high 64 bits of each sum, one after the other.
    public var stored: [UInt64] { words }

    /// How many sums.
    public var count: Int { words.count / 2 }

    /// Adds a number to each sum.
    ///
    /// - Precondition: as many numbers as sums.
    public mutating func add(_ numbers: [Double]) {
        precondition(numbers.count == count)
        for (i, number) in numbers.enumerated() {
            let (low, high) = Self.steps(number)
            add(low, high, at: 2 * i)
        }
    }

    /// Adds other sums: as if their addends had been added one by one.
    ///
    /// - Precondition: as many sums.
    public mutating func add(_ other: ExactSums) {
        precondition(other.count == count)
        for i in stride(from: 0, to: words.count, by: 2) {
            add(other.words[i], other.words[i + 1], at: i)
        }
    }

    private mutating func add(_ low: UInt64, _ high: UInt64, at i: Int) {
        if words[i + 1] == Self.nan || high == Self.nan {
            words[i] = 0
            words[i + 1] = Self.nan
            return
        }
        let (sum, carries) = words[i].addingReportingOverflow(low)
        words[i] = sum
        words[i + 1] = words[i + 1] &+ high &+ (carries ? 1 : 0)
    }

    /// The integer that stands for a number.
    private static func steps(_ number: Double) -> (low: UInt64, high: UInt64) {
        let size = number.magnitude
        guard size < limit else { return (0, nan) }
        let whole = size.rounded(.down)
        // Below 1, so below 2^64 even when rounded: the next double below 1 is 1 - 2^-53.
        let low = UInt64(((size - whole) * 0x1p64).rounded(.toNearestOrEven))
        let high = UInt64(whole)
        guard number < 0 else { return (low, high) }
        return (0 &- low, ~high &+ (low == 0 ? 1 : 0))
    }

    /// The sums, each rounded once to the nearest double, half to even.
    public var doubles: [Double] {
        (0..<count).map { i in
            var (low, high) = (words[2 * i], words[2 * i + 1])
            if high == Self.nan { return .nan }
            let isNegative = Int64(bitPattern: high) < 0
            if isNegative { (low, high) = (0 &- low, ~high &+ (low == 0 ? 1 : 0)) }
            let size: Double
            if high == 0 {
                size = Double(low) * 0x1p-64
            } else {
                // The 64 leading bits, the last of which also says whether anything follows: enough
                // for the one rounding.
                let shift = high.leadingZeroBitCount
                let top = shift == 0 ? high : high << shift | low >> (64 - shift)
                let rest = low << shift
                size = Double(top | (rest == 0 ? 0 : 1)) / Self.power(shift)
            }
            return isNegative ? -size : size
        }
    }

    /// 2^exponent.
    private static func power(_ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: 1)
    }
}
