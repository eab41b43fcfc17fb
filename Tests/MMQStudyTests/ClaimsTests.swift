import Foundation
import MMQBase
import Testing

@testable import MMQStudy

/// What a claim about neurons is asked: specific to what, against what chance, how many tests.
@Suite struct ClaimsTests {
    /// Answers to `truths.count` questions of rs, right or wrong.
    private func answers(
        _ domain: Domain, _ setting: String, right: [Bool], cluster: ((Int) -> String)? = nil
    ) throws -> [ScoredAnswer] {
        right.enumerated().map { index, right in
            var answer = ScoredAnswer(
                domain: domain, index: index, setting: setting,
                groundTruth: domain == .doc ? .array([.string("yes")]) : .string("yes"),
                answer: right ? "yes" : "entirely different", source: "test")
            if let key = domain.clusterKey, let cluster { answer.attributes[key] = cluster(index) }
            return answer
        }
    }

    @Test func holmIsHolms() {
        func rounded(_ p: [Double]) -> [Double] {
            Holm.adjusted(p).map { ($0 * 1e6).rounded() / 1e6 }
        }
        // R: p.adjust(c(.01, .04, .03, .005), "holm")
        #expect(rounded([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02])
        #expect(rounded([0.5, 0.6]) == [1, 1])
        #expect(rounded([0.02]) == [0.02])
        #expect(Holm.adjusted([]).isEmpty)
    }

    @Test func groupsAreOneValue() throws {
        let clusters = Clusters([1, 0, 1, 1, 0], keys: ["a", nil, "b", "a", nil])
        #expect(clusters.sums == [2, 0, 1, 0])
        #expect(clusters.sizes == [2, 1, 1, 1])
        #expect(clusters.mean == 0.6 && clusters.values == 5 && !clusters.areSingle)
        // Of groups of one the usual standard error.
        let values = [0.5, 2, -1, 4, 0.25]
        let mean = values.reduce(0, +) / 5
        let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4).squareRoot()
        let error = try #require(Clusters(values).standardError)
        #expect(abs(error - deviation / 5.0.squareRoot()) < 1e-15)
        // Each value twice over: as much is known as of the values once.
        let doubled = Clusters(values + values, keys: (0..<10).map { "\($0 % 5)" })
        #expect(abs(try #require(doubled.standardError) - error) < 1e-15)
        #expect(abs(doubled.mean - mean) < 1e-15)
        // Groups of one are drawn as single values are: old results stay.
        let resampling = Resampling(draws: 200)
        #expect(resampling.means(Clusters(values)) == resampling.means(values))
        #expect(Clusters([1]).standardError == nil)
    }

    /// Six groups must change: their number is binomial.
    @Test func whatSamplesCouldHaveShown() throws {
        #expect(Clusters.leastShare(of: 5) == nil)
        // All six: q^6 = 0.8.
        #expect(abs(try #require(Clusters.leastShare(of: 6)) - pow(0.8, 1.0 / 6)) < 1e-9)
        for count in [10, 100, 1_000] {
            let q = try #require(Clusters.leastShare(of: count))
            var power = 0.0
            for k in 6...count {
                let ways =
                    lgamma(Double(count + 1)) - lgamma(Double(k + 1))
                    - lgamma(Double(count - k + 1))
                power += exp(ways + Double(k) * log(q) + Double(count - k) * log(1 - q))
            }
            #expect(abs(power - 0.8) < 1e-8)
        }
        // No difference at all says little: eight of a thousand might have changed.
        let nothing = try #require(Clusters([Double](repeating: 0, count: 1_000)).detectable)
        #expect(nothing > 0.007 && nothing < 0.009)
        let values = (0..<1_000).map { $0 % 2 == 0 ? 1.0 : -1.0 }
        let error = try #require(Clusters(values).standardError)
        #expect(Clusters(values).detectable == error * 2.801585218)
    }

    /// Without scores of their own, numbered controls are what effects stand among all the same.
    @Test func controlsNeedNoScores() throws {
        var given: [ScoredAnswer] = []
        for (setting, wrong) in [
            ("none", 3), ("lang", 12), ("random-lang", 4), ("random-lang#1", 5),
            ("random-lang#2", 2),
        ] {
            given += try answers(.rs, setting, right: (0..<30).map { $0 >= wrong })
        }
        var evaluator = Evaluator(resampling: Resampling(draws: 200))
        let whole = try evaluator.evaluate(given)
        evaluator.scoresControls = false
        let found = try evaluator.evaluate(given)
        #expect(found.scores == whole.shownScores && found.scores.count < whole.scores.count)
        #expect(found.controls == whole.controls && found.matrices == whole.matrices)
        #expect(found.controls.first?.controls.count == 2)
    }

    @Test func theMatrixIsEverySetOnEveryBench() throws {
        let size = 60
        func right(_ wrong: Int) -> [Bool] { (0..<size).map { $0 >= wrong } }
        var given: [ScoredAnswer] = []
        // Wrong under no mask, the own neurons', the other domain's.
        for (domain, other, wrong) in [
            (Domain.rs, Domain.doc, (6, 30, 9)), (.doc, .rs, (0, 6, 6)),
        ] {
            given += try answers(domain, "none", right: right(wrong.0))
            given += try answers(domain, "lang", right: right(wrong.1))
            given += try answers(domain, "lang@\(other.rawValue)", right: right(wrong.2))
            given += try answers(domain, "all", right: right(wrong.1))
        }
        let evaluator = Evaluator(resampling: Resampling(draws: 1_000))
        let found = try evaluator.evaluate(given, forms: [.mmneuron])
        // `all` was answered under the own neurons only: no matrix.
        let matrix = try #require(found.matrices.first)
        #expect(found.matrices.count == 1 && matrix.setting == "lang")
        #expect(matrix.benches == [.rs, .doc])
        #expect(matrix.rows.map(\.domain) == [.rs, .doc])
        func near(_ a: Double?, _ b: Double) -> Bool { a.map { abs($0 - b) < 1e-9 } ?? false }
        #expect(near(matrix.rows[0].changes[0]?.difference, -24.0 / 60))
        #expect(near(matrix.rows[1].changes[0]?.difference, -3.0 / 60))
        // The answer "entirely different" is somewhat like "yes" to ANLS without a cut.
        let likeness = try #require(
            found.scores.first { $0.domain == .doc && $0.setting == "lang" }?.score?.value)
        let drop = 1 - likeness
        #expect(near(matrix.rows[0].changes[1]?.difference, -drop))
        let specific = try #require(matrix.rows[0].specificity)
        #expect(near(specific.value, 24.0 / 60 - drop))
        #expect(specific.p < 0.01 && specific.interval.low > 0)
        #expect(specific.interval.low < specific.value && specific.value < specific.interval.high)
        let other = try #require(matrix.rows[1].specificity)
        #expect(near(other.value, drop - 3.0 / 60))
        #expect(other.p > 0.1)
        #expect(other.holm == other.p && near(specific.holm, 2 * specific.p))
        // Every cell is what the scores say.
        for score in found.scores where score.setting == "lang" {
            let row = try #require(matrix.rows.first { $0.domain == score.domain })
            let cell = row.changes[try #require(matrix.benches.firstIndex(of: score.domain))]
            #expect(cell?.difference == score.change?.difference)
            #expect(cell?.interval == score.change?.interval && cell?.p == score.change?.p)
        }
    }

    @Test func effectsHaveAPlaceAmongChance() throws {
        func right(_ wrong: Int) -> [Bool] { (0..<40).map { $0 >= wrong } }
        var given = try answers(.rs, "none", right: right(4))
        given += try answers(.rs, "all", right: right(10))
        given += try answers(.rs, "lang", right: right(4))
        for draw in 1...19 {
            // 4 to 7 wrong, and one draw that is as bad as the real set.
            given += try answers(.rs, "random#\(draw)", right: right(draw == 7 ? 10 : 4 + draw % 4))
            given += try answers(.rs, "random-lang#\(draw)", right: right(3 + draw % 2))
        }
        let found = try Evaluator(resampling: Resampling(draws: 200)).evaluate(
            given, forms: [.mmneuron])
        #expect(found.controls.map(\.setting) == ["all", "lang"])
        let all = found.controls[0]
        #expect(all.controls.count == 19 && all.control == "random")
        #expect(abs(all.difference + 6.0 / 40) < 1e-12)
        #expect(all.p == 2.0 / 20 && all.percentile == 18.0 / 19)
        #expect(all.holm == 0.2)
        let lang = found.controls[1]
        // Not worse than ten of nineteen, which are no better.
        #expect(lang.p == 11.0 / 20)
        #expect(abs(all.controls[6] + 6.0 / 40) < 1e-12)
        // Numbered controls are not tests of their own.
        #expect(Set(found.shownScores.map(\.setting)) == ["none", "all", "lang"])
        #expect(
            found.scores.first { $0.setting == "random#1" }?.change?.holm == nil)
    }

    /// 1,000 made-up studies without any effect: as often as promised p is below 0.05, and intervals
    /// hold the truth; with answers that belong together too, where the test that knows nothing of
    /// groups is wrong most of the time.
    @Test(arguments: [1, 4]) func whereNothingIsToBeFound(size: Int) {
        var random = SplitMix64(seed: 2026)
        func coin(_ share: Double) -> Bool { Double(random.next() >> 11) * 0x1p-53 < share }
        let resampling = Resampling(draws: 400)
        var (rejected, naive, covered) = (0, 0, 0)
        let groups = 240 / size
        for _ in 0..<1_000 {
            var values: [Double] = []
            var keys: [String] = []
            for group in 0..<groups {
                // What a mask does to one picture it does to all questions about it.
                let moves = coin(0.5)
                let up = coin(0.5)
                for _ in 0..<size {
                    let grade = Double(1 + random.number(below: 4)) / 4
                    values.append(moves ? (up ? grade : -grade) : 0)
                    keys.append("\(group)")
                }
            }
            let clusters = Clusters(values, keys: keys)
            if resampling.signFlip(clusters).p < 0.05 { rejected += 1 }
            if size > 1, resampling.signFlip(values).p < 0.05 { naive += 1 }
            if let interval = resampling.interval(clusters), interval.low <= 0, 0 <= interval.high {
                covered += 1
            }
        }
        print("groups of \(size): p < 0.05 in \(rejected), intervals hold 0 in \(covered) of 1000")
        #expect((30...70).contains(rejected))
        #expect((930...970).contains(covered))
        if size > 1 { #expect(naive > 200, "without groups \(naive)") }
    }

    /// The same of specificities, and of a set's place among nineteen draws like it.
    @Test func neitherSpecificNorBeyondChance() {
        var random = SplitMix64(seed: 7)
        let evaluator = Evaluator(resampling: Resampling(draws: 200))
        var (specific, covered, beyond) = (0, 0, 0)
        for _ in 0..<1_000 {
            let cells = (0..<3).map { bench -> Clusters? in
                Clusters(
                    (0..<60 + 20 * bench).map { _ in
                        random.number(below: 4) == 0 ? -Double(random.number(below: 3)) / 2 : 0
                    })
            }
            if let found = evaluator.specificity(cells, own: 1) {
                if found.p < 0.05 { specific += 1 }
                if found.interval.low <= 0, 0 <= found.interval.high { covered += 1 }
            }
            let effects = (0..<20).map { _ in Double(random.number(below: 1_000_000)) }
            let place = ControlTest.place(of: effects[0], among: Array(effects.dropFirst()))
            if place.p <= 0.05 { beyond += 1 }
        }
        print("specificity: p < 0.05 in \(specific), intervals hold 0 in \(covered) of 1000")
        print("first of twenty: \(beyond) of 1000")
        #expect((30...70).contains(specific))
        #expect((930...970).contains(covered))
        #expect((30...70).contains(beyond))
    }
}
