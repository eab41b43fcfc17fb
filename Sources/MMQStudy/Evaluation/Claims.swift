import MMQBase

/// What answers say: scores, what neuron sets do on the benches of other domains, and how likely
/// chance is to do the same.
public struct Evaluation: Sendable {
    /// The scores under every setting.
    public internal(set) var scores: [Score] = []
    /// Every set on every bench, where a study has that.
    public internal(set) var matrices: [SetMatrix] = []
    /// Effects among those of controls, where a study has several of these.
    public internal(set) var controls: [ControlTest] = []
    /// Domains whose answers cannot be scored, and what is wrong with them.
    public internal(set) var problems: [(domain: Domain, error: InputError)] = []

    /// The scores but for those of numbered controls, which `controls` sums up.
    public var shownScores: [Score] { scores.filter { !MaskSetting.isNumbered($0.setting) } }

    /// Corrects the p values of all tests of a kind that are shown together.
    mutating func correct() {
        let shown = scores.indices.filter {
            scores[$0].change != nil && !MaskSetting.isNumbered(scores[$0].setting)
        }
        for (i, p) in zip(shown, Holm.adjusted(shown.compactMap { scores[$0].change?.p })) {
            scores[i].change?.holm = p
        }
        let rows = matrices.indices.flatMap { matrix in
            matrices[matrix].rows.indices.filter { matrices[matrix].rows[$0].specificity != nil }
                .map { (matrix, $0) }
        }
        let p = Holm.adjusted(rows.compactMap { matrices[$0.0].rows[$0.1].specificity?.p })
        for ((matrix, row), p) in zip(rows, p) { matrices[matrix].rows[row].specificity?.holm = p }
        for (i, p) in zip(controls.indices, Holm.adjusted(controls.map(\.p))) {
            controls[i].holm = p
        }
    }
}

/// The effect of every domain's neurons on every domain's score, under one setting.
public struct SetMatrix: Sendable, Equatable, Codable {
    /// What one domain's neurons do.
    public struct Row: Sendable, Equatable, Codable {
        /// Whose neurons are masked.
        public let domain: Domain
        /// For each of the matrix's benches the difference to no mask; nil where it was not answered.
        public let changes: [Change?]
        /// How much more they matter to their own domain; nil without it or without another.
        public internal(set) var specificity: Specificity?
    }

    /// Whose rule the scores follow.
    public let form: MetricForm
    /// The setting, without a domain.
    public let setting: String
    /// The domains of the questions.
    public let benches: [Domain]
    /// One for each domain whose neurons were masked.
    public internal(set) var rows: [Row]
}

/// The drop of a domain's score under its own neurons' mask, less the mean drop of the other domains'
/// scores under the same mask.
public struct Specificity: Sendable, Equatable, Codable {
    /// Own drop less mean drop of the others; above 0 where the own domain suffers more.
    public let value: Double
    /// Its 95 % interval: every bench's samples (or groups of them) are drawn for themselves.
    public let interval: Interval
    /// The two-sided p value of the hypothesis that it does not matter which bench a sample is of:
    /// groups are dealt out to the benches anew, each bench getting as many as it has.
    public let p: Double
    /// p corrected for all specificities that are shown together (Holm).
    public internal(set) var holm: Double?
}

/// An effect among those of controls: as many neurons, drawn by chance.
public struct ControlTest: Sendable, Equatable, Codable {
    /// The domain of the questions.
    public let domain: Domain
    /// Whose rule the scores follow.
    public let form: MetricForm
    /// The setting.
    public let setting: String
    /// How the controls were drawn.
    public let control: String
    /// The difference to no mask under the setting.
    public let difference: Double
    /// The differences under the controls, in the order of their numbers.
    public let controls: [Double]
    /// The part of the controls under which the score drops less than under the setting.
    public let percentile: Double
    /// (1 + controls under which it drops at least as much) / (1 + controls): the one-sided p value of
    /// the hypothesis that the set is one of the draws.
    public let p: Double
    /// p corrected for all such tests that are shown together (Holm).
    public internal(set) var holm: Double?
}

extension ControlTest {
    /// The percentile and the p value of a difference among those of controls.
    static func place(
        of difference: Double, among controls: [Double]
    ) -> (percentile: Double, p: Double) {
        // Means of other samples differ in their last bits.
        let bar = difference + 1e-12
        let extreme = controls.count { $0 <= bar }
        return (
            Double(controls.count - extreme) / Double(controls.count),
            Double(1 + extreme) / Double(1 + controls.count)
        )
    }
}

/// What each sample of a bench scored, by one rule.
struct BenchUnits {
    let metric: String
    /// In the order in which they occur.
    let settings: [String]
    let units: [String: [UnitScore]]
}

extension Evaluator {
    /// Effects among those of controls with numbers.
    func controls(_ form: MetricForm, _ benches: [Domain: BenchUnits]) -> [ControlTest] {
        Domain.allCases.flatMap { domain -> [ControlTest] in
            guard let bench = benches[domain], let base = bench.units[baseline] else { return [] }
            func effect(_ setting: String) -> Double? {
                guard let units = bench.units[setting] else { return nil }
                let differences = Self.differences(units, base)
                return differences.count == 0 ? nil : differences.mean
            }
            let numbered = MaskSetting.sorted(bench.settings, by: { $0 })
                .compactMap(MaskSetting.numbered)
            var tests: [ControlTest] = []
            for (real, control) in numbered.map({ ($0.real, $0.control) }) {
                guard !tests.contains(where: { $0.setting == real && $0.control == control }),
                    let difference = effect(real)
                else { continue }
                let drawn = numbered.filter { $0.real == real && $0.control == control }
                    .compactMap { effect($0.name) }
                guard !drawn.isEmpty else { continue }
                let place = ControlTest.place(of: difference, among: drawn)
                tests.append(
                    ControlTest(
                        domain: domain, form: form, setting: real, control: control,
                        difference: difference, controls: drawn, percentile: place.percentile,
                        p: place.p))
            }
            return tests
        }
    }

    /// Every set on every bench, for each setting that was answered with several domains' neurons.
    func matrices(_ form: MetricForm, _ benches: [Domain: BenchUnits]) -> [SetMatrix] {
        var families: [String] = []
        for domain in Domain.allCases {
            for setting in MaskSetting.sorted(benches[domain]?.settings ?? [], by: { $0 }) {
                guard let family = MaskSetting.family(setting), family.domain != nil,
                    !families.contains(family.name)
                else { continue }
                families.append(family.name)
            }
        }
        return MaskSetting.sorted(families, by: { $0 }).compactMap { family in
            let asked = Domain.allCases.filter { domain in
                benches[domain]?.units[baseline] != nil
                    && benches[domain]?.settings.contains {
                        MaskSetting.family($0)?.name == family
                    } == true
            }
            let rows = Domain.allCases.compactMap { set -> SetMatrix.Row? in
                let cells = asked.map { bench -> Clusters? in
                    guard let held = benches[bench], let base = held.units[baseline],
                        let name = MaskSetting.member(of: family, set, on: bench),
                        let units = held.units[name]
                    else { return nil }
                    let differences = Self.differences(units, base)
                    return differences.count == 0 ? nil : differences
                }
                guard cells.contains(where: { $0 != nil }) else { return nil }
                return SetMatrix.Row(
                    domain: set, changes: cells.map { $0.flatMap(change) },
                    specificity: specificity(cells, own: asked.firstIndex(of: set)))
            }
            // On one bench alone nothing is specific.
            return rows.isEmpty || asked.count < 2
                ? nil : SetMatrix(form: form, setting: family, benches: asked, rows: rows)
        }
    }

    /// The mean of differences, with interval and test.
    func change(_ differences: Clusters) -> Change? {
        guard let interval = resampling.interval(differences) else { return nil }
        let (p, test) = resampling.signFlip(differences)
        return Change(
            against: baseline, pairs: differences.values, difference: differences.mean,
            interval: interval, p: p, test: test, clusters: differences.count,
            detectable: differences.detectable)
    }

    /// - Parameter cells: the differences on each bench.
    func specificity(_ cells: [Clusters?], own: Int?) -> Specificity? {
        guard let own, let mine = cells[own] else { return nil }
        let others = cells.enumerated().compactMap { $0 == own ? nil : $1 }
        guard !others.isEmpty else { return nil }
        let value = -mine.mean + others.reduce(0) { $0 + $1.mean } / Double(others.count)
        // Each bench draws from a stream of its own.
        var drawn = resampling.means(mine, stream: 1).map { -$0 }
        for (number, other) in others.enumerated() {
            let means = resampling.means(other, stream: UInt64(number) + 2)
            for i in drawn.indices { drawn[i] += means[i] / Double(others.count) }
        }
        return Specificity(
            value: value, interval: Resampling.interval(ofDraws: drawn),
            p: resampling.dealing([mine] + others))
    }
}

extension Resampling {
    /// The two-sided p value of the difference between the first part's mean and the mean of the other
    /// parts' means, under the hypothesis that groups are dealt out by chance, to each part as many as
    /// it has: (1 + as extreme) / (1 + draws).
    func dealing(_ parts: [Clusters]) -> Double {
        var sums = parts.flatMap(\.sums)
        var sizes = parts.flatMap { $0.sizes.map(Double.init) }
        if sums.allSatisfy({ $0 == 0 }) { return 1 }
        let counts = parts.map(\.count)
        func statistic() -> Double {
            var (first, rest, start) = (0.0, 0.0, 0)
            for (number, count) in counts.enumerated() {
                var (sum, size) = (0.0, 0.0)
                for i in start..<start + count {
                    sum += sums[i]
                    size += sizes[i]
                }
                start += count
                if number == 0 { first = sum / size } else { rest += sum / size }
            }
            return abs(first - rest / Double(counts.count - 1))
        }
        // Sums in another order differ in their last bits: what is equal but for that is equal.
        let bar = statistic() - 1e-12
        var random = SplitMix64(seed: seed, stream: .max - 1)
        var extreme = 0
        for _ in 0..<draws {
            // Fisher and Yates.
            for last in stride(from: sums.count - 1, to: 0, by: -1) {
                let place = Int(((random.next() >> 32) &* UInt64(last + 1)) >> 32)
                sums.swapAt(last, place)
                sizes.swapAt(last, place)
            }
            if statistic() >= bar { extreme += 1 }
        }
        return Double(1 + extreme) / Double(1 + draws)
    }
}
