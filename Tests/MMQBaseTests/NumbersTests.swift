import MMQBase
import Testing

@Suite("Stable numbers")
struct NumbersTests {
    /// The vectors that the authors of FNV publish.
    @Test(
        arguments: [
            ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] as [(String, UInt64)])
    func fnv(_ text: String, _ expected: UInt64) {
        var hash = StableHash()
        hash.add(text.utf8)
        #expect(hash.value == expected)
    }

    @Test func digitsKeepLeadingZeros() {
        var hash = StableHash()
        hash.add(littleEndian: UInt16(0x6261))
        var bytes = StableHash()
        bytes.add("ab".utf8)
        #expect(hash.value == bytes.value)
        #expect(hash.digits.count == 16 && UInt64(hash.digits, radix: 16) == hash.value)
    }

    /// The first numbers of seed 1234567, as the reference in C prints them.
    @Test func splitMix() {
        var random = SplitMix64(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }

    @Test func numbersBelowALimitAreEven() {
        var random = SplitMix64(seed: 7)
        var counts = [Int](repeating: 0, count: 6)
        for _ in 0..<60_000 { counts[random.number(below: 6)] += 1 }
        #expect(counts.allSatisfy { abs($0 - 10_000) < 500 }, "\(counts)")
    }
}
