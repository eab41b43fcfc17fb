import Foundation
import MMQModels
import Support
import Testing

@Suite struct SamplerTests {
    /// What top-k keeps, by sorting everything: the chosen tokens of many draws are among them, and
    /// all of them are chosen at some time.
    @Test(arguments: [1, 2, 5, 50])
    func topKKeepsTheBest(_ topK: Int) {
        var random = SeededRandom(seed: 31)
        // Rounded, so that there are ties, also at the edge.
        var logits = random.normals(400).map { ($0 * 4).rounded() / 4 }
        logits[7] = .nan
        logits[8] = -.infinity
        let sorted = logits.indices.filter { !logits[$0].isNaN }
            .sorted { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }
        let kept = Set(sorted.prefix(topK).map(Int32.init))
        var sampler = Sampler(SamplingOptions(temperature: 3, topK: topK, seed: 5))
        let chosen = Set((0..<4000).map { _ in sampler.next(logits) })
        #expect(chosen == kept)
    }

    /// The same seed draws the same tokens whether the others are cut off or are out of reach.
    @Test func topKDrawsAsIfTheOthersWereNotThere() {
        var random = SeededRandom(seed: 32)
        let logits = random.normals(300)
        let edge = logits.sorted(by: >)[19]
        let cut = logits.map { $0 >= edge ? $0 : -.infinity }
        var some = Sampler(SamplingOptions(temperature: 0.9, topK: 20, seed: 6))
        var all = Sampler(SamplingOptions(temperature: 0.9, seed: 6))
        for _ in 0..<500 { #expect(some.next(logits) == all.next(cut)) }
    }
}
