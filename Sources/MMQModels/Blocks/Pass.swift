import CSIMD

/// Where activations are looked at: a layer of an observed module.
struct Site {
    /// The module's place in the model's list.
    let module: Int
    let layer: Int
}

/// What the blocks share while they take tokens through a model: scratch memory, the stage clock,
/// who observes which rows, and whether there are few tokens or many.
///
/// Every operation of a block takes the pass, and says itself on the clock what it did.
struct Pass {
    /// Rows that share an observation. A decoding step of several sequences has one run for each,
    /// every one perhaps under another mask; anything else has one run of all rows.
    private struct Run {
        let rows: Range<Int>
        let observation: Observation?
    }

    let workspace: Workspace
    /// Decoding: a few tokens, each weight read once. A prompt always takes the other path, so that
    /// its results do not depend on how many tokens it has.
    let few: Bool
    /// Where the inputs of products are measured, if they are.
    let inputs: InputStatistics?
    private let runs: [Run]

    /// A pass over all tokens of pictures or of a prompt.
    init(
        _ workspace: Workspace, observation: Observation? = nil, inputs: InputStatistics? = nil
    ) {
        self.workspace = workspace
        self.inputs = inputs
        few = false
        runs = [Run(rows: 0..<Int.max, observation: observation)]
    }

    /// A decoding step: row i is the next token of a sequence that `observations[i]` looks at.
    init(_ workspace: Workspace, stepOf observations: [Observation?]) {
        self.workspace = workspace
        inputs = nil
        few = true
        runs = observations.enumerated().map { Run(rows: $0..<$0 + 1, observation: $1) }
    }

    /// Whether activations are counted or handed out: then layers run too whose output nobody uses.
    var needsAllLayers: Bool { runs.contains { $0.observation?.needsAllLayers ?? false } }

    /// Scratch memory for rows, contents undefined; valid until the slot is next asked for.
    func rows(_ slot: Workspace.Slot, _ count: Int, _ width: Int) -> Rows {
        Rows(workspace.floats(slot, count * width), count: count, width: width)
    }

    /// The time since the last call was spent on `stage`.
    func did(_ stage: StageTimes.Stage, operations: Int = 0, bytes: Int = 0) {
        workspace.stages?.did(stage, operations: operations, bytes: bytes)
    }

    /// x += added: the residual connection.
    func add(_ added: Rows, to x: Rows) {
        csimd_add(x.data, added.data, x.size)
        did(.addition, bytes: 2 * x.bytes + added.bytes)
    }

    /// x = intervention(activation(x)) in place, times `factor` where there is one. Interventions,
    /// counts and sums see the activation itself, before that product.
    ///
    /// - Parameter first: which row of the pass the first row of x is.
    func activate(
        _ activation: csimd_activation, _ x: Rows, times factor: Rows? = nil, at site: Site,
        first: Int
    ) {
        for run in runs {
            let rows = run.rows.clamped(to: first..<first + x.count)
            guard !rows.isEmpty else { continue }
            Self.forEachSite(site, rows, run.observation) { rows, site in
                let offset = (rows.lowerBound - first) * x.width
                if let factor {
                    csimd_activate_gated(
                        activation, x.data + offset, factor.data + offset, rows.count, x.width,
                        site)
                } else {
                    csimd_activate(activation, x.data + offset, rows.count, x.width, site)
                }
            }
        }
        did(.activation, bytes: 2 * x.bytes + (factor?.bytes ?? 0))
    }

    /// Runs `body` with the site of rows that are counted together, one such part after the other;
    /// with all of them and nil if nobody observes.
    private static func forEachSite(
        _ site: Site, _ rows: Range<Int>, _ observation: Observation?,
        _ body: (Range<Int>, UnsafePointer<csimd_site>?) -> Void
    ) {
        guard let observation else { return body(rows, nil) }
        for part in observation.parts(rows, module: site.module) {
            var kernelSite = observation.site(
                module: site.module, layer: site.layer, rows: part.rows.count,
                positions: part.positions)
            withUnsafePointer(to: &kernelSite) { body(part.rows, $0) }
            if let values = kernelSite.values {
                observation.tap?.take(
                    UnsafeBufferPointer(
                        start: values,
                        count: part.rows.count * observation.modules[site.module].neurons),
                    module: site.module, layer: site.layer)
            }
        }
    }

    /// Notes that every layer of a module saw the pass's first `tokens` rows.
    func saw(tokens: Int, module: Int) {
        for run in runs {
            run.observation?.saw(run.rows.clamped(to: 0..<tokens), module: module)
        }
    }
}
