import MMQFormats
import Support
import Testing

@testable import MMQStudy

@Suite struct SampleOrderTests {
    /// Σ (order[i] + 1) · K^i mod 2^64, as the golden script computes it.
    private func digest(_ order: [Int32]) -> String {
        var sum: UInt64 = 0
        var factor: UInt64 = 1
        for row in order {
            sum &+= UInt64(row + 1) &* factor
            factor &*= 0x9e37_79b9_7f4a_7c15
        }
        let hex = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - hex.count) + hex
    }

    @Test func ordersEqualPandasPythonAndDatasets() throws {
        let golden = try Golden.json("study/orders.json")
        for entry in try golden.at("digests").list() {
            let entry = try entry.list()
            let count = try #require(entry[0].integer)
            #expect(digest(SampleOrder.pandas(count: count)) == entry[1].text, "pandas \(count)")
            #expect(digest(SampleOrder.python(count: count)) == entry[2].text, "python \(count)")
            #expect(
                digest(SampleOrder.datasets(count: count)) == entry[3].text, "datasets \(count)")
        }
    }

    @Test func theHeadReadsAsPrinted() throws {
        let heads = try Golden.json("study/orders.json").at("head of 12").list().map {
            try $0.integers()
        }
        #expect(SampleOrder.pandas(count: 12).map(Int.init) == heads[0])
        #expect(SampleOrder.python(count: 12).map(Int.init) == heads[1])
        #expect(SampleOrder.datasets(count: 12).map(Int.init) == heads[2])
    }

    @Test func nothingToShuffle() {
        #expect(SampleOrder.pandas(count: 0).isEmpty)
        #expect(SampleOrder.python(count: 0).isEmpty)
        #expect(SampleOrder.datasets(count: 0).isEmpty)
    }
}
