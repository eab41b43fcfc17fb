import MMQBase
import Support
import Testing

@Suite struct ExactSumsTests {
    /// Numbers of many sizes and both signs, each a multiple of 2⁻⁶⁴.
    private func numbers(_ count: Int, seed: UInt64) -> [Double] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in
            let mantissa = Double(Int64(bitPattern: random.next()) >> 11)
            return mantissa
                * Double(sign: .plus, exponent: -Int(random.next() % 64), significand: 1)
        }.filter { $0.magnitude < ExactSums.limit }
    }

    @Test func theOrderAndTheCutsDoNotMatter() {
        var all = numbers(2_000, seed: 3)
        var whole = ExactSums(count: 1)
        for number in all { whole.add([number]) }
        var random = SplitMix64(seed: 4)
        for _ in 0..<20 {
            all.shuffle(using: &random)
            var parts = (0..<7).map { _ in ExactSums(count: 1) }
            for (i, number) in all.enumerated() { parts[i % 7].add([number]) }
            var total = parts[3]
            for i in [6, 0, 1, 5, 2, 4] { total.add(parts[i]) }
            #expect(total == whole)
            #expect(ExactSums(words: total.stored) == whole)
        }
    }

    /// Against whole numbers of 2⁻⁶⁴ in wider arithmetic: a number that is added is not changed, and
    /// the sum is rounded once.
    @Test func numbersComeBack() {
        for number in numbers(2_000, seed: 5) + [0, 1, -1, 0x1p-64, -0x1p-64, 0x1.fffffffffffffp45]
        {
            var one = ExactSums(count: 2)
            one.add([number, -number])
            #expect(one.doubles == [number, -number])
            one.add([-number, number])
            #expect(one.doubles == [0, 0])
            #expect(one == ExactSums(count: 2))
        }
    }

    @Test func theSumIsRoundedOnceHalfToEven() {
        func sum(_ numbers: Double...) -> Double {
            var sums = ExactSums(count: 1)
            for number in numbers { sums.add([number]) }
            return sums.doubles[0]
        }
        let step = 0x1p-52
        #expect(sum(1, step / 2) == 1)
        #expect(sum(1, step / 2, 0x1p-64) == 1 + step)
        #expect(sum(1 + step, step / 2) == 1 + 2 * step)
        #expect(sum(-1, -step / 2, -0x1p-64) == -1 - step)
        #expect(sum(0x1p44, 0x1p-10, -0x1p44) == 0x1p-10)
        // A chain of additions in f64 loses the small ones.
        var chain = 0x1p45
        var exact = ExactSums(count: 1)
        exact.add([0x1p45])
        for _ in 0..<1_000 {
            chain += 0x1p-10
            exact.add([0x1p-10])
        }
        #expect(chain == 0x1p45)
        #expect(exact.doubles[0] == 0x1p45 + 1_000 * 0x1p-10)
        // Below a step of 2⁻⁶⁴ a number is rounded.
        #expect(sum(0x1p-65) == 0)
        #expect(sum(0x1.8p-64) == 0x1p-63)
    }

    @Test func whatIsNoNumberStays() {
        for bad in [Double.nan, .infinity, -.infinity, 0x1p46, -0x1p46] {
            var sums = ExactSums(count: 2)
            sums.add([bad, 1])
            sums.add([1, 1])
            #expect(sums.doubles[0].isNaN && sums.doubles[1] == 2)
            var other = ExactSums(count: 2)
            other.add([5, 5])
            other.add(sums)
            #expect(other.doubles[0].isNaN && other.doubles[1] == 7)
            sums.add(ExactSums(count: 2))
            #expect(sums.doubles[0].isNaN)
        }
        #expect(ExactSums(words: [1]) == nil)
    }
}
