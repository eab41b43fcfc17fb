import CSIMD

/// Tokens that go through an MLP at once: their [tokens, ffn] arrays stay in the last-level cache.
/// Results do not depend on it.
let feedForwardChunk = 256

/// The MLP of a tower: fc2(activation(fc1 x)), the activation being the observed site.
struct FeedForward {
    let up: Linear
    let down: Linear
    let activation: csimd_activation

    /// y [tokens, outputs] from x [tokens, inputs]; `layer` is the site's.
    func apply(
        _ x: UnsafePointer<Float>, tokens: Int, to y: UnsafeMutablePointer<Float>,
        sites: ModuleSites, layer: Int, workspace: Workspace
    ) {
        let neurons = up.outputs
        let inner = workspace.floats(.gate, min(tokens, feedForwardChunk) * neurons)
        for first in stride(from: 0, to: tokens, by: feedForwardChunk) {
            let count = min(feedForwardChunk, tokens - first)
            up.apply(
                workspace.operand(x + first * up.inputs, tokens: count, cols: up.inputs), to: inner)
            sites.withSite(layer: layer, rows: count) {
                csimd_activate(activation, inner, count, neurons, $0)
            }
            workspace.stages?.did(.activation, bytes: count * neurons * 8)
            down.apply(
                workspace.operand(inner, tokens: count, cols: neurons),
                to: y + first * down.outputs)
        }
    }
}

/// The decoder's MLP: down(SiLU(gate x) * up x); the site is SiLU(gate x), before the product.
struct GatedFeedForward {
    let gate: Linear
    let up: Linear
    let down: Linear

    /// y [tokens, hidden] from x [tokens, hidden].
    ///
    /// - Parameter sites: `body` may be called once per run of rows with a site of its own.
    func apply(
        _ x: UnsafePointer<Float>, tokens: Int, to y: UnsafeMutablePointer<Float>, few: Bool,
        layer: Int, rows: [RowSites], workspace: Workspace
    ) {
        let neurons = gate.outputs
        let chunk = min(tokens, feedForwardChunk)
        let gates = workspace.floats(.gate, chunk * neurons)
        let ups = workspace.floats(.up, chunk * neurons)
        for first in stride(from: 0, to: tokens, by: chunk) {
            let count = min(chunk, tokens - first)
            let operand = workspace.operand(
                x + first * gate.inputs, tokens: count, cols: gate.inputs)
            gate.apply(operand, to: gates, few: few)
            up.apply(operand, to: ups, few: few)
            for run in rows {
                let range = run.rows.clamped(to: first..<first + count)
                guard !range.isEmpty else { continue }
                let offset = (range.lowerBound - first) * neurons
                run.sites.withSite(layer: layer, rows: range.count) {
                    csimd_activate_gated(
                        CSIMD_SILU, gates + offset, ups + offset, range.count, neurons, $0)
                }
            }
            workspace.stages?.did(.activation, bytes: count * neurons * 12)
            down.apply(
                workspace.operand(gates, tokens: count, cols: neurons),
                to: y + first * down.outputs, few: few)
        }
    }
}

/// Rows of a pass that share an observation: a prefill has one run, a decoding step of several
/// sequences one per sequence, each perhaps under another mask.
struct RowSites {
    let rows: Range<Int>
    let sites: ModuleSites
}
