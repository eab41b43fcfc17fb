/// Values in groups that are not independent of each other: questions about one segment of a drive,
/// figures of one article. A value of its own is a group of one.
struct Clusters: Sendable, Equatable {
    /// The values of each group, added up, in the order in which groups first occur.
    private(set) var sums: [Double] = []
    /// How many values each group has.
    private(set) var sizes: [Int] = []

    /// Values each of its own.
    init(_ values: [Double]) {
        sums = values
        sizes = values.map { _ in 1 }
    }

    /// - Parameter keys: for each value the name of its group; nil for a group of its own.
    init(_ values: [Double], keys: [String?]) {
        precondition(values.count == keys.count)
        var places: [String: Int] = [:]
        for (value, key) in zip(values, keys) {
            if let key, let place = places[key] {
                sums[place] += value
                sizes[place] += 1
            } else {
                if let key { places[key] = sums.count }
                sums.append(value)
                sizes.append(1)
            }
        }
    }

    /// How many groups.
    var count: Int { sums.count }
    /// How many values.
    var values: Int { sizes.reduce(0, +) }
    /// Whether every value is a group of its own.
    var areSingle: Bool { sizes.allSatisfy { $0 == 1 } }
    /// The mean of all values.
    var mean: Double { sums.reduce(0, +) / Double(values) }

    /// The standard error of the mean; nil with fewer than two groups.
    ///
    /// Of a ratio of sums over groups, √(C / (C − 1) Σ (S_c − mean n_c)²) / n (Cochran, Sampling
    /// Techniques, 1977, 6.3); with groups of one the usual s / √n.
    var standardError: Double? {
        guard count >= 2 else { return nil }
        let mean = mean
        let squares = zip(sums, sizes).reduce(0) {
            let rest = $1.0 - mean * Double($1.1)
            return $0 + rest * rest
        }
        return (Double(count) / Double(count - 1) * squares).squareRoot() / Double(values)
    }

    /// The smallest difference that so many values would have shown: with a probability of 80 % at a
    /// two-sided level of 5 %. Nil where no difference could.
    ///
    /// (1.96 + 0.84) standard errors of what was found; but no less than what the exact sign test can
    /// show, which takes six groups that change, all in one direction, each by one answer from right
    /// to wrong: where hardly anything changed, what was found says little of what could have been.
    var detectable: Double? {
        guard let error = standardError, let share = Self.leastShare(of: count) else { return nil }
        return max(error * 2.801585218, share * Double(count) / Double(values))
    }

    /// The probability q with which each of `count` groups must change for six of them to do so with
    /// a probability of 80 %; nil if there are fewer than six.
    static func leastShare(of count: Int) -> Double? {
        guard count >= 6 else { return nil }
        var (low, high) = (0.0, 1.0)
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if atLeastSix(of: count, middle) < 0.8 { low = middle } else { high = middle }
        }
        return high
    }

    /// P(X ≥ 6) of a binomial variable.
    private static func atLeastSix(of count: Int, _ q: Double) -> Double {
        if q <= 0 { return 0 }
        if q >= 1 { return 1 }
        // P(X = 0), then each from the one before.
        var term = power(1 - q, count)
        var below = 0.0
        for k in 0..<6 {
            below += term
            term *= Double(count - k) / Double(k + 1) * q / (1 - q)
        }
        return 1 - below
    }

    private static func power(_ base: Double, _ exponent: Int) -> Double {
        var (result, base, exponent) = (1.0, base, exponent)
        while exponent > 0 {
            if exponent & 1 == 1 { result *= base }
            base *= base
            exponent >>= 1
        }
        return result
    }
}

extension Domain {
    /// The attribute by which a data set's samples belong together; nil where every sample is one of
    /// its own: the official order takes one question of each picture.
    public var clusterKey: String? {
        switch self {
        case .ad: "segment_id"
        case .med: "article"
        case .doc: "document"
        case .rs, .com: nil
        }
    }
}

/// p values corrected for the number of tests: Holm, A simple sequentially rejective multiple test
/// procedure, 1979.
enum Holm {
    /// The corrected p of each test, in the order in which they were given: the chance that any of the
    /// hypotheses that hold is rejected at a level stays below that level.
    static func adjusted(_ p: [Double]) -> [Double] {
        let order = p.indices.sorted { (p[$0], $0) < (p[$1], $1) }
        var adjusted = p
        var least = 0.0
        for (rank, test) in order.enumerated() {
            least = max(least, min(1, p[test] * Double(p.count - rank)))
            adjusted[test] = least
        }
        return adjusted
    }
}
