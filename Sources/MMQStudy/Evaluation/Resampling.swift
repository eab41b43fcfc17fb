import Foundation
import MMQBase

/// A 95 % interval.
public struct Interval: Sendable, Equatable, Codable {
    /// The lower end.
    public let low: Double
    /// The upper end.
    public let high: Double
}

/// The difference of two settings over the samples that both answered, and whether chance explains it.
public struct Change: Sendable, Equatable, Codable {
    /// How the p value was found.
    public enum Test: String, Sendable, Codable {
        /// All nonzero differences have one size: the exact two-sided sign test (McNemar's exact
        /// test for right and wrong answers).
        case signs = "exact sign test"
        /// All 2^m ways to flip the signs of m nonzero differences.
        case everyFlip = "every sign flip"
        /// Random sign flips; p = (as extreme + 1) / (flips + 1).
        case randomFlips = "random sign flips"
    }

    /// The setting compared with.
    public let against: String
    /// The samples that both settings answered.
    public let pairs: Int
    /// The mean of the differences, this setting less the other.
    public let difference: Double
    /// Its interval: bootstrap over pairs.
    public let interval: Interval
    /// The two-sided p value of the hypothesis that each difference is as likely to have the
    /// opposite sign.
    public let p: Double
    /// How p was found.
    public let test: Test
    /// Independent groups that the pairs fall into; as many as pairs where every sample is its own.
    public let clusters: Int
    /// p corrected for all tests that are shown together (Holm); nil where it stands alone.
    public internal(set) var holm: Double?
    /// The smallest difference that so many pairs would have shown with a probability of 80 %; nil
    /// where they could show none.
    public let detectable: Double?
}

/// Bootstrap intervals and sign-flip tests from one seed: equal input gives equal output on every
/// machine.
public struct Resampling: Sendable, Equatable {
    /// The number of bootstrap samples, and of random sign flips.
    public var draws: Int
    /// The seed.
    public var seed: UInt64

    /// 10,000 draws from a fixed seed unless said otherwise.
    public init(draws: Int = 10_000, seed: UInt64 = 1) {
        self.draws = max(1, draws)
        self.seed = seed
    }

    /// The means of bootstrap samples: as many values as there are, drawn with replacement.
    ///
    /// - Parameter stream: separates draws that must be independent of each other.
    func means(_ values: [Double], stream: UInt64 = 0) -> [Double] {
        guard let first = values.first else { return [] }
        if values.allSatisfy({ $0 == first }) { return Array(repeating: first, count: draws) }
        // A product of 32 random bits and the count: no value is favoured by more than n / 2³².
        let count = UInt64(truncatingIfNeeded: min(values.count, Int(UInt32.max)))
        var random = SplitMix64(seed: seed, stream: stream)
        var means = Array(repeating: 0.0, count: draws)
        values.withUnsafeBufferPointer { values in
            var draw = 0
            while draw < means.count {
                var sum = 0.0
                var left = values.count
                while left > 1 {
                    let bits = random.next()
                    sum += values[Int(truncatingIfNeeded: ((bits >> 32) &* count) >> 32)]
                    sum += values[Int(truncatingIfNeeded: ((bits & 0xffff_ffff) &* count) >> 32)]
                    left &-= 2
                }
                if left == 1 {
                    sum += values[Int(truncatingIfNeeded: ((random.next() >> 32) &* count) >> 32)]
                }
                means[draw] = sum / Double(values.count)
                draw &+= 1
            }
        }
        return means
    }

    /// The means of bootstrap samples of groups: as many groups as there are, drawn with
    /// replacement.
    func means(_ clusters: Clusters, stream: UInt64 = 0) -> [Double] {
        if clusters.areSingle { return means(clusters.sums, stream: stream) }
        let count = UInt64(clusters.count)
        var random = SplitMix64(seed: seed, stream: stream)
        let sizes = clusters.sizes.map(Double.init)
        return (0..<draws).map { _ in
            var (sum, size) = (0.0, 0.0)
            for _ in 0..<clusters.count {
                let place = Int(((random.next() >> 32) &* count) >> 32)
                sum += clusters.sums[place]
                size += sizes[place]
            }
            return sum / size
        }
    }

    /// The percentile bootstrap interval of a mean; nil without values.
    func interval(_ clusters: Clusters, stream: UInt64 = 0) -> Interval? {
        clusters.count == 0
            ? nil : Self.interval(ofDraws: means(clusters, stream: stream))
    }

    /// From the 2.5 % to the 97.5 % quantile, interpolated between neighbours.
    static func interval(ofDraws draws: [Double]) -> Interval {
        let sorted = draws.sorted()
        func quantile(_ q: Double) -> Double {
            let place = q * Double(sorted.count - 1)
            let below = Int(place)
            let above = min(below + 1, sorted.count - 1)
            return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
        }
        return Interval(low: quantile(0.025), high: quantile(0.975))
    }

    /// The two-sided p value of paired differences under random signs, each group's as a whole.
    func signFlip(_ clusters: Clusters) -> (p: Double, test: Change.Test) {
        signFlip(clusters.sums)
    }

    /// The two-sided p value of paired differences under random signs.
    func signFlip(_ differences: [Double]) -> (p: Double, test: Change.Test) {
        let nonzero = differences.filter { $0 != 0 }
        guard let first = nonzero.first else { return (1, .signs) }
        if nonzero.allSatisfy({ $0.magnitude == first.magnitude }) {
            return (Self.signTest(nonzero.count { $0 > 0 }, of: nonzero.count), .signs)
        }
        // Sums in another order differ in their last bits: what is equal but for that is equal.
        let observed = abs(nonzero.reduce(0, +))
        let bar = observed - 1e-9 * nonzero.reduce(0) { $0 + $1.magnitude }
        if nonzero.count <= 16 {
            var sums = [0.0]
            for value in nonzero { sums = sums.flatMap { [$0 + value, $0 - value] } }
            return (Double(sums.count { abs($0) >= bar }) / Double(sums.count), .everyFlip)
        }
        var random = SplitMix64(seed: seed, stream: .max)
        var extreme = 0
        for _ in 0..<draws {
            var sum = 0.0
            var bits: UInt64 = 0
            for (i, value) in nonzero.enumerated() {
                if i & 63 == 0 { bits = random.next() }
                sum += bits & 1 == 0 ? value : -value
                bits >>= 1
            }
            if abs(sum) >= bar { extreme += 1 }
        }
        return (Double(extreme + 1) / Double(draws + 1), .randomFlips)
    }

    /// The probability of at least as uneven a split of `count` fair coins.
    static func signTest(_ positive: Int, of count: Int) -> Double {
        let rarer = min(positive, count - positive)
        if 2 * rarer == count { return 1 }
        // Of the logarithm: C(count, k) / 2^count.
        let whole = lgamma(Double(count) + 1) - Double(count) * log(2.0)
        var sum = 0.0
        for k in 0...rarer {
            let arrangements = lgamma(Double(k) + 1) + lgamma(Double(count - k) + 1)
            sum += exp(whole - arrangements)
        }
        return min(1, 2 * sum)
    }
}

extension SplitMix64 {
    /// Numbers of their own for each stream of a seed: streams begin far apart, since the state is
    /// itself a scrambled number.
    init(seed: UInt64, stream: UInt64) {
        var mixer = seed &+ stream &* 0xd1b5_4a32_d192_ed03
        mixer ^= mixer >> 29
        self.init(seed: mixer &* 0xbf58_476d_1ce4_e5b9)
    }
}
