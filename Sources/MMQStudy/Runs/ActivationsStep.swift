import MMQBase
import MMQFormats
import MMQModels

/// Writing activation values over a bench into a folder: one forward pass per sample.
///
/// Below the folder each domain has a folder of its own, in it for every layer files
/// `MODULE.LAYER-00000.safetensors` of as many rows each, and for every module what these rows are,
/// `MODULE-00000.csv`.
public final class ActivationsPlan {
    /// What came of a domain.
    public struct Result: Encodable, Sendable {
        /// Why the run ended.
        public let outcome: RunOutcome
        /// The domain.
        public let domain: Domain
        /// Samples that were taken, earlier runs' and with a shard other parts' included.
        public let samples: Int
        /// Which part of them was taken here; nil for all.
        public let shard: String?
        /// Samples that were left out: no picture, or the model cannot take them.
        public let skipped: Int
        /// Frames that were left out of pictures.
        public let missingFrames: Int
        /// Rows of each module that are there.
        public let rows: [String: Int]
    }

    let model: any VisionLanguageModel
    let bench: String
    let split: String
    let samples: Int
    let selection: ActivationSelection
    let type: SafetensorsType
    let shard: Shard?
    let allowsOutside: Bool
    let rowsPerFile: [String: Int]
    let folder: ActivationFolder

    /// Writing with a model over the bench in a folder.
    ///
    /// - Parameters:
    ///   - samples: of each domain.
    ///   - type: F32, or F16, which makes what is beyond 65,504 infinite.
    ///   - fileSize: the most bytes of a file, unless one row has more.
    ///   - output: the folder to write, or to go on with.
    ///   - shard: which samples are taken; nil for all.
    ///   - allowsOutside: whether pictures may lie outside the bench's folder.
    /// - Throws: `InputError`, `.mismatch` if the folder is of another model or other options.
    public init(
        model: any VisionLanguageModel, bench: String, split: String = "train", samples: Int,
        selection: ActivationSelection, type: SafetensorsType = .f32, fileSize: Int,
        output: String, shard: Shard? = nil, allowsOutside: Bool = false
    ) throws {
        precondition(type == .f32 || type == .f16)
        self.model = model
        self.bench = bench
        self.split = split
        self.samples = samples
        self.selection = selection
        self.type = type
        self.shard = shard
        self.allowsOutside = allowsOutside
        var rowsPerFile: [String: Int] = [:]
        for site in selection.sites {
            let rows = min(
                max(1, fileSize / ActivationLayout.indexRow),
                SafetensorsRows.rows(
                    fitting: fileSize, name: site.place.name, type: type, columns: site.columns))
            rowsPerFile[model.modules[site.place.module].name, default: rows].lower(to: rows)
        }
        self.rowsPerFile = rowsPerFile
        func text(_ value: some CustomStringConvertible) -> JSONValue { .string("\(value)") }
        folder = try ActivationFolder(
            path: output,
            manifest: JSONObject([
                ("version", .integer(1)),
                ("model", .string(model.fingerprint)),
                ("split", .string(split)),
                ("positions", .string(selection.rows.rawValue)),
                ("dtype", .string(type.rawValue.lowercased())),
                ("shard", .string(shard?.description ?? "none")),
                (
                    "sites",
                    .array(
                        selection.sites.map { site in
                            .object(
                                JSONObject([
                                    ("name", .string(site.place.name)),
                                    ("module", .string(model.modules[site.place.module].name)),
                                    ("layer", .integer(site.place.layer)),
                                    ("columns", .integer(site.columns)),
                                    (
                                        "neurons",
                                        site.neurons.map { .array($0.map(JSONValue.integer)) }
                                            ?? .null
                                    ),
                                ]))
                        })
                ),
                (
                    "modules",
                    .object(
                        JSONObject(
                            rowsPerFile.sorted { $0.key < $1.key }.map { name, rows in
                                (name, .object(JSONObject([("rows_per_file", .integer(rows))])))
                            }))
                ),
            ]))
    }

    /// Writing a domain's, from where the folder stands.
    public func step(_ domain: Domain) throws -> some RunStep<Result> {
        try ActivationsStep(self, domain)
    }
}

extension Int {
    fileprivate mutating func lower(to other: Int) { self = Swift.min(self, other) }
}

private final class ActivationsStep: RunStep {
    let samples: BenchSplit
    let start: RunCursor
    /// What was written is made durable at a commit; a small model's samples share one.
    let commitInterval = Duration.seconds(1)
    var shard: Shard? { plan.shard }

    private let plan: ActivationsPlan
    private var progress: ActivationProgress
    private let files: ActivationFiles
    private let plannedTokens: PlannedTokens

    init(_ plan: ActivationsPlan, _ domain: Domain) throws {
        self.plan = plan
        plannedTokens = PlannedTokens(plan.model)
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.split, form: .simple,
            allowsOutside: plan.allowsOutside)
        progress =
            try plan.folder.progress(of: domain, rowsPerFile: plan.rowsPerFile)
            ?? ActivationProgress(bench: samples.fingerprint, modules: plan.rowsPerFile.keys)
        guard progress.bench == samples.fingerprint else {
            throw InputError(
                .mismatch, file: plan.folder.path, item: domain.rawValue,
                "begun with other annotations than those in \(plan.bench)")
        }
        start = progress.cursor
        files = try ActivationFiles(
            plan.selection, of: plan.model.modules, type: plan.type,
            rowsPerFile: plan.rowsPerFile, in: plan.folder.folder(of: domain),
            held: progress.held)
    }

    func standing() throws -> RunOutcome? {
        guard isReached(start) else {
            return progress.outcome == .exhausted ? .exhausted : nil
        }
        guard start.samples == plan.samples else {
            throw InputError(
                .mismatch, file: plan.folder.path, item: samples.domain.rawValue,
                "already holds \(start.samples) samples, more than asked for; write to another "
                    + "folder")
        }
        // An earlier run that was to take more may have been stopped here.
        if progress.outcome == nil { try commit(start, .reached) }
        return .reached
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= plan.samples }

    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(plan.samples), cursor)
    }

    func passBy(_ sample: BenchSample) throws { _ = try plannedTokens(sample) }

    func begin(_ sample: BenchSample) throws -> Bool {
        let model = plan.model
        let input = try model.prepare(image: sample.picture(), prompt: sample.prompt)
        files.begin { model.tokenRows(of: $0, in: input) }
        do {
            let tap = plan.selection.sites.map(\.place).tap(of: model.modules) {
                [files] site, values in try files.take(site, values)
            }
            if let tap { try model.pass(input, tap: tap) }
            try files.end(sample: sample.position)
        } catch {
            files.rewind()
            throw error
        }
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        let ended = outcome == .reached || outcome == .exhausted
        if ended { try files.finish() } else { try files.sync() }
        progress.cursor = cursor
        progress.held = files.held
        progress.outcome = ended ? outcome : nil
        try plan.folder.store(progress, of: samples.domain)
    }

    /// What is there.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> ActivationsPlan.Result {
        ActivationsPlan.Result(
            outcome: outcome, domain: samples.domain, samples: cursor.samples,
            shard: plan.shard?.description, skipped: cursor.skipped,
            missingFrames: cursor.missingFrames, rows: files.held.mapValues(\.rows))
    }
}
