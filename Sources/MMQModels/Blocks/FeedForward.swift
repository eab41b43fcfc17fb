import CSIMD

/// Tokens that go through an MLP at once, at the most: enough for the packing of the weights, anew for
/// each such chunk, to cost a hundredth of their products, few enough for 90 MB to hold the [tokens, ffn]
/// arrays of a 7B decoder. Results do not depend on it.
private let mostAtOnce = 1_024

/// The MLP of a tower: fc2(activation(fc1 x)), the activation being the observed site.
struct FeedForward {
    let up: Linear
    let down: Linear
    let activation: csimd_activation

    /// [rows of x, outputs], in `.delta`.
    func apply(_ x: Rows, at site: Site, _ pass: Pass) -> Rows {
        let y = pass.rows(.delta, x.count, down.outputs)
        x.forEachChunk { chunk in
            let inner = up.apply(pass.operand(x[chunk]), in: .gate)
            pass.activate(activation, inner, at: site, first: chunk.lowerBound)
            down.apply(pass.operand(inner), to: y[chunk])
        }
        return y
    }
}

/// The decoder's MLP: down(SiLU(gate x) * up x); the site is SiLU(gate x), before the product.
struct GatedFeedForward {
    /// Tokens that go through at once, at the most.
    static let mostAtOnce = MMQModels.mostAtOnce

    let gate: Linear
    let up: Linear
    let down: Linear

    /// [rows of x, outputs], in `.delta`.
    func apply(_ x: Rows, at site: Site, _ pass: Pass) -> Rows {
        let y = pass.rows(.delta, x.count, down.outputs)
        forEachInner(of: x, at: site, pass) { chunk, inner in
            down.apply(pass.operand(inner, first: chunk.lowerBound), to: y[chunk])
        }
        return y
    }

    /// Calls `body` with ranges of rows and what `down` takes of them, [rows, ffn].
    func forEachInner(
        of x: Rows, at site: Site, _ pass: Pass, _ body: (Range<Int>, Rows) -> Void
    ) {
        x.forEachChunk { chunk in
            let operand = pass.operand(x[chunk], first: chunk.lowerBound)
            let both = Linear.apply([(gate, in: .gate), (up, in: .up)], operand)
            pass.activate(CSIMD_SILU, both[0], times: both[1], at: site, first: chunk.lowerBound)
            body(chunk, both[0])
        }
    }
}

extension Rows {
    /// Calls `body` with one range of rows after the other. The first is the longest, so that the
    /// scratch memory it takes serves all.
    fileprivate func forEachChunk(_ body: (Range<Int>) -> Void) {
        guard count > 0 else { return }
        // About even ones, of whole blocks of tokens as products take them.
        let chunks = (count + mostAtOnce - 1) / mostAtOnce
        let even = ((count + chunks - 1) / chunks + 47) / 48 * 48
        for first in stride(from: 0, to: count, by: even) {
            body(first..<min(first + even, count))
        }
    }
}
