import MMQBase
import MMQModels

/// A resumable walk over a domain with one transaction per sample, for passes of the lens and of the
/// deviation.
struct LensWalk {
    /// Where a walk stands.
    typealias Progress = (pass: LensPass, fraction: Double, startFraction: Double)

    /// What random controls are drawn with.
    static let controlSeed: UInt64 = 1

    let study: Study
    let bench: String
    let split: String
    let samples: Int
    /// Drop what an earlier run measured.
    let again: Bool

    /// Walks on from where the study stands.
    ///
    /// - Parameters:
    ///   - options: what the numbers depend on; going on with others is an error.
    ///   - unusable: called with the place of each sample that the model cannot take, and why.
    ///   - measure: measures a sample and commits it with the state that it is given.
    func run(
        _ kind: LensPass.Kind, domain: Domain, setting: String, options: String,
        interrupted: () -> Bool, missing: ([String]) -> Void,
        unusable: (Int, String) -> Void, progress: (Progress) -> Void,
        measure: (BenchSample, LensPass) throws -> Void
    ) throws -> (outcome: ActivationRun.Outcome, pass: LensPass) {
        let walk = try BenchSplit(bench: bench, domain: domain, split: split, form: .simple)
        var pass = LensPass(
            kind: kind, domain: domain, split: split, setting: setting, bench: walk.fingerprint,
            options: options)
        if let stored = try study.lensPass(kind, domain: domain, split: split, setting: setting) {
            if again {
                try study.remove(stored)
            } else {
                guard stored.bench == pass.bench else {
                    throw InputError(
                        .mismatch, file: study.path, item: domain.rawValue,
                        "measured with other annotations than those in \(bench)")
                }
                guard stored.options == options else {
                    throw InputError(
                        .mismatch, file: study.path, item: domain.rawValue,
                        "measured with other settings or neuron sets (\(stored.options)) than now "
                            + "(\(options)); start over with \(CommandHint.again)")
                }
                pass = stored
                try walk.skip(to: pass.cursor)
            }
        }
        func fraction() -> Double {
            let ofGoal = Double(pass.samples) / Double(max(1, samples))
            return min(1, max(ofGoal, Double(pass.cursor) / Double(max(1, walk.count))))
        }
        let start = fraction()
        while pass.samples < samples, !pass.finished {
            if interrupted() { return (.interrupted, pass) }
            guard let item = try walk.next() else {
                pass.cursor = walk.position
                pass.finished = true
                try study.commit(pass)
                break
            }
            pass.cursor = walk.position
            switch item {
            case .missing(_, let files):
                missing(files)
                pass.skipped += 1
                try study.commit(pass)
            case .sample(let sample):
                if !sample.missing.isEmpty { missing(sample.missing) }
                pass.samples += 1
                do {
                    try measure(sample, pass)
                } catch let error as InputError {
                    guard let reason = error.reasonOfSample else { throw error }
                    unusable(sample.position, reason)
                    pass.samples -= 1
                    pass.skipped += 1
                    try study.commit(pass)
                }
            }
            progress((pass, fraction(), start))
        }
        return (pass.samples >= samples ? .reached : .exhausted, pass)
    }

    /// A mask's neurons in a short text that changes with them.
    static func fingerprint(_ mask: NeuronMask) -> String {
        var hash = StableHash()
        for (name, layers) in mask.layers.sorted(by: { $0.key < $1.key }) {
            hash.add(name.utf8)
            for layer in layers {
                for neuron in [layer.count] + layer {
                    hash.add(littleEndian: UInt64(neuron))
                }
            }
        }
        return String(hash.value, radix: 16)
    }
}
