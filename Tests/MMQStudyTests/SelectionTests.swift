import MMQBase
import Testing

@testable import MMQStudy

@Suite struct SelectionTests {
    /// Values that lie in many ways: at random, in order, nearly all alike, with infinities.
    private var cases: [[Double]] {
        var random = SplitMix64(seed: 3)
        func drawn(_ count: Int, below: UInt64) -> [Double] {
            (0..<count).map { _ in Double(random.next() % below) }
        }
        let mixed = drawn(3_000, below: 1 << 40)
        return [
            [5], [2, 1], [0, -0.0, 0], drawn(40, below: 3), mixed, mixed.sorted(),
            mixed.sorted(by: >), drawn(5_000, below: 4),
            Array(repeating: 0, count: 4_000) + drawn(50, below: 9),
            drawn(500, below: 90) + Array(repeating: .infinity, count: 700) + [-.infinity],
            // Rises and falls: the worst for pivots of first, middle and last.
            (0..<2_001).map { Double($0 < 1_000 ? $0 : 2_000 - $0) },
        ]
    }

    @Test func valuesAreThoseOfTheSortedList() {
        for values in cases {
            let sorted = values.sorted()
            for place in stride(from: 0, to: values.count, by: max(1, values.count / 60)) {
                #expect(Selection.value(at: place, of: values) == sorted[place])
            }
            #expect(Selection.value(at: values.count - 1, of: values) == sorted.last)
        }
    }

    @Test func theLeastAreTheFirstOfTheOrder() {
        for values in cases {
            let order = Identification.ranked(values)
            for count in [0, 1, values.count / 3, values.count - 1, values.count] {
                #expect(Selection.least(count, of: values) == order.prefix(count).sorted())
            }
        }
    }
}
