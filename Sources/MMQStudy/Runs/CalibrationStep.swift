import Foundation
import MMQBase
import MMQModels

/// Measuring what goes into the decoder's products, over a bench: the importance matrix that
/// `convert` and llama.cpp's `llama-quantize` weigh errors with.
///
/// The output file is where the run stands as well: it is written anew at every commit, whole or not
/// at all, so that a run that was killed goes on and ends with the same bytes.
public final class CalibrationPlan {
    let model: any VisionLanguageModel
    let bench: String
    let samples: Int
    let output: String
    let allowsOutside: Bool
    let form: PromptForm
    private let lock: FileLock
    fileprivate var calibration: ImportanceFile.Calibration

    /// Calibrating with a model over the bench in a folder.
    ///
    /// - Parameters:
    ///   - samples: of each domain.
    ///   - imageWeight: how much image positions count beside text positions, all together.
    ///   - output: the file to write, or to go on with.
    ///   - again: write it anew, whatever is there.
    /// - Throws: `InputError`, `.mismatch` if the file is of another model or other options, `.locked` if
    ///   another process writes to it.
    public init(
        model: any VisionLanguageModel, bench: String, split: String, form: PromptForm,
        samples: Int, imageWeight: Float, output: String, again: Bool, allowsOutside: Bool
    ) throws {
        self.model = model
        self.bench = bench
        self.samples = samples
        self.output = output
        self.allowsOutside = allowsOutside
        self.form = form
        lock = try FileLock(
            beside: linkTarget(of: output), named: output, kind: "importance file")
        calibration = ImportanceFile.Calibration(
            model: model.fingerprint, split: split, form: form.rawValue, imageWeight: imageWeight)
        guard !again, FileManager.default.fileExists(atPath: output) else { return }
        let found = try ImportanceFile(path: output).calibration()
        let wanted = calibration
        for (what, old, new) in [
            ("model", found.model, wanted.model), ("--split", found.split, wanted.split),
            ("--prompt-form", found.form, wanted.form),
            ("--image-weight", "\(found.imageWeight)", "\(wanted.imageWeight)"),
        ] where old != new {
            throw InputError(
                .mismatch, file: output, item: what,
                "made with \(old), not with \(new); --again begins anew")
        }
        for (name, product) in found.statistics.flatMap(\.products) {
            let inputs = model.files.language[name]?.shape.last
            guard inputs == product.text.squares.count else {
                throw InputError(
                    .badShape, file: output, item: "tensor '\(name).in_sum2'",
                    expected: inputs.map { "\($0) input channels, as the model's weight has" }
                        ?? "a weight of the model",
                    found: "\(product.text.squares.count) channels")
            }
        }
        calibration = found
        InputLedger.goOn(with: output)
    }

    /// Calibrating over a domain, from where the file stands.
    public func step(_ domain: Domain) throws -> some RunStep<ImportanceFile.Progress> {
        try CalibrationStep(self, domain)
    }
}

private final class CalibrationStep: RunStep {
    let samples: BenchSplit
    let start: RunCursor
    /// The file of a 7B has 40 MB.
    let commitInterval = Duration.seconds(10)

    private let plan: CalibrationPlan
    private let domain: Int

    init(_ plan: CalibrationPlan, _ domain: Domain) throws {
        self.plan = plan
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.calibration.split, form: plan.form,
            allowsOutside: plan.allowsOutside)
        if let known = plan.calibration.domains.firstIndex(where: { $0.domain == domain.rawValue })
        {
            self.domain = known
        } else {
            self.domain = plan.calibration.domains.count
            plan.calibration.append(.init(domain: domain.rawValue, bench: samples.fingerprint))
        }
        let progress = plan.calibration.domains[self.domain]
        guard progress.bench == samples.fingerprint else {
            throw InputError(
                .mismatch, file: plan.output, item: domain.rawValue,
                "calibrated over other annotations than those in \(plan.bench)")
        }
        start = RunCursor(
            position: progress.position, samples: progress.samples, skipped: progress.skipped,
            missingFrames: progress.missingFrames)
    }

    func standing() throws -> RunOutcome? {
        guard isReached(start) else { return nil }
        guard start.samples == plan.samples else {
            throw InputError(
                .mismatch, file: plan.output, item: samples.domain.rawValue,
                "already holds \(start.samples) samples, more than asked for")
        }
        return .reached
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= plan.samples }

    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(plan.samples), cursor)
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        try plan.model.measureInputs(
            image: sample.picture(), prompt: sample.prompt,
            to: plan.calibration.statistics[domain])
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        plan.calibration.update(domain, result(cursor, .interrupted))
        guard plan.calibration.statistics.contains(where: { !$0.products.isEmpty }) else { return }
        try ImportanceFile.write(plan.calibration, to: plan.output)
    }

    /// Where the domain stands.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> ImportanceFile.Progress {
        var progress = plan.calibration.domains[domain]
        progress.position = cursor.position
        progress.samples = cursor.samples
        progress.skipped = cursor.skipped
        progress.missingFrames = cursor.missingFrames
        return progress
    }
}
