import MMQStudy
import Support
import Testing

@testable import MMQExplore

/// What a page asks of a bench.
@Suite struct BenchShelfTests {
    /// Any number can stand in an address.
    @Test func anyPlaceMayBeAskedFor() throws {
        let shelf = try BenchShelf(
            bench: Golden.folder + "/bench", split: "train", allowsOutside: false)
        let first = try shelf.samples(of: .rs, from: 0, count: 2)
        #expect(first.count == 2)
        let before = try shelf.samples(of: .rs, from: .min, count: 2)
        #expect(before.map(\.position) == first.map(\.position))
        for place in [240, Int.max - 1, .max] {
            #expect(try shelf.samples(of: .rs, from: place, count: 24).isEmpty)
        }
        #expect(try shelf.sample("rs-\(Int.max)") == nil)
    }
}
