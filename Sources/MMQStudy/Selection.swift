import MMQBase

/// Numbers by their place in ascending order, without the sorting: of millions of neurons a few
/// thousand are wanted, and stability finds them anew in every draw.
enum Selection {
    /// Rounds after which what is left is sorted: numbers may lie so that each round takes off a few.
    private static let patience = 64
    /// Numbers that are looked at first to tell about where a place lies.
    private static let sampled = 1_024

    /// The number that would stand at a place if they were sorted.
    ///
    /// - Parameter place: from 0.
    static func value(at place: Int, of values: [Double]) -> Double {
        if values.count > 8 * sampled, let found = narrowed(place, values) { return found }
        var values = values
        return find(place, &values)
    }

    /// Looks between two numbers that the wanted one most likely lies between, as those of a sample do
    /// (after Floyd and Rivest, Expected time bounds for selection, 1975); nil if it does not.
    private static func narrowed(_ place: Int, _ values: [Double]) -> Double? {
        var random = SplitMix64(seed: 1)
        // At random: in equal steps all might be of one domain.
        let sample = (0..<sampled).map { _ in values[random.number(below: values.count)] }.sorted()
        let share = Double(place) / Double(values.count)
        let middle = share * Double(sampled)
        // Four standard errors of the place in a sample.
        let margin = 4 * (share * (1 - share) * Double(sampled)).squareRoot() + 4
        let low = middle < margin ? -Double.infinity : sample[Int(middle - margin)]
        let high = middle + margin > Double(sampled - 1) ? .infinity : sample[Int(middle + margin)]
        var below = 0
        var between: [Double] = []
        for value in values {
            if value < low {
                below += 1
            } else if value <= high {
                between.append(value)
            }
        }
        guard (0..<between.count).contains(place - below) else { return nil }
        return find(place - below, &between)
    }

    /// Hoare, Algorithm 65: Find, 1961.
    private static func find(_ place: Int, _ values: inout [Double]) -> Double {
        values.withUnsafeMutableBufferPointer { values in
            var (low, high, round) = (0, values.count - 1, 0)
            while high - low > 32, round < patience {
                round += 1
                let pivot = median(values[low], values[low + (high - low) / 2], values[high])
                var (i, j) = (low, high)
                while i <= j {
                    while values[i] < pivot { i += 1 }
                    while pivot < values[j] { j -= 1 }
                    if i <= j {
                        values.swapAt(i, j)
                        i += 1
                        j -= 1
                    }
                }
                if place <= j {
                    high = j
                } else if place >= i {
                    low = i
                } else {
                    return values[place]
                }
            }
            values[low...high].sort()
            return values[place]
        }
    }

    /// The places of the `count` least numbers, ascending; of equal ones the first.
    static func least(_ count: Int, of values: [Double]) -> [Int] {
        guard count > 0 else { return [] }
        let bar = value(at: count - 1, of: values)
        var equals = count - values.count { $0 < bar }
        return values.indices.filter { place in
            if values[place] < bar { return true }
            guard values[place] == bar, equals > 0 else { return false }
            equals -= 1
            return true
        }
    }

    private static func median(_ a: Double, _ b: Double, _ c: Double) -> Double {
        max(min(a, b), min(max(a, b), c))
    }
}
