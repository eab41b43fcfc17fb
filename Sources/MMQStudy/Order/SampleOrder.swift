/// The three shuffles of the official code, bit for bit: the same samples in the same order are
/// what makes a run comparable with published results.
///
/// Each gives, for every place in the shuffled order, the row of the unshuffled data. Lengths
/// below 2³² only, which every bench is far from.
public enum SampleOrder {
    /// pandas `DataFrame.sample(frac=1, random_state=seed)`: a permutation by numpy's legacy
    /// `RandomState`.
    public static func pandas(count: Int, seed: UInt32 = 42) -> [Int32] {
        var generator = MersenneTwister(numpySeed: seed)
        return shuffled(count) { generator.numpyUpTo($0) }
    }

    /// CPython `random.Random(seed).shuffle`.
    public static func python(count: Int, seed: UInt64 = 4) -> [Int32] {
        var generator = MersenneTwister(pythonSeed: seed)
        return shuffled(count) { generator.pythonBelow($0 + 1) }
    }

    /// `datasets.Dataset.shuffle(seed=seed)`: numpy `default_rng(seed).permutation`.
    public static func datasets(count: Int, seed: UInt32 = 42) -> [Int32] {
        var generator = PCG64(seed: seed)
        return shuffled(count) { generator.upTo($0) }
    }

    /// Fisher and Yates from the last place down; `draw(i)` gives a number in 0...i.
    private static func shuffled(_ count: Int, draw: (UInt32) -> UInt32) -> [Int32] {
        var order = (0..<Int32(count)).map { $0 }
        for i in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(i, Int(draw(UInt32(i))))
        }
        return order
    }
}
