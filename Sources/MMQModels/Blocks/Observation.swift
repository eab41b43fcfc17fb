import CSIMD

/// What a pass does at its sites: which neurons it switches off, and what it counts.
///
/// One object serves one pass or many; counts add up until they are taken. Not thread-safe: passes
/// that share one run one after the other.
public final class Observation {
    /// The modules of the model, in its order.
    public let modules: [ModuleShape]
    /// Whether activations are counted.
    public let isCounting: Bool
    /// Which neurons fired at which token, if that is recorded.
    public let firing: FiringPattern?

    private struct Totals {
        let counts: UnsafeMutablePointer<Int64>
        let sums: UnsafeMutablePointer<Double>
        let size: Int
        var tokens: Int64 = 0
    }
    private var totals: [Totals] = []
    /// [module][layer]: one byte per neuron, or nil where nothing is masked.
    private var masks: [[UnsafeMutablePointer<UInt8>?]]

    /// - Parameters:
    ///   - modules: the modules of the model.
    ///   - counting: count activations.
    ///   - mask: neurons to set to 0 before they are counted.
    ///   - recording: keep a bit for every neuron and token; for one pass, as it takes
    ///     tokens × neurons / 8 bytes a layer.
    public init(
        modules: [ModuleShape], counting: Bool, mask: NeuronMask? = nil, recording: Bool = false
    ) {
        self.modules = modules
        isCounting = counting
        firing = recording ? FiringPattern(modules: modules) : nil
        masks = modules.map { module in
            (0..<module.layers).map { layer in
                guard let bytes = mask?.isMasked(module: module.name, layer: layer) else {
                    return nil
                }
                let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: module.neurons)
                copy.initialize(from: bytes, count: module.neurons)
                return copy
            }
        }
        guard counting else { return }
        totals = modules.map { module in
            let size = module.layers * module.neurons
            let counts = UnsafeMutablePointer<Int64>.allocate(capacity: max(size, 1))
            let sums = UnsafeMutablePointer<Double>.allocate(capacity: max(size, 1))
            counts.initialize(repeating: 0, count: size)
            sums.initialize(repeating: 0, count: size)
            return Totals(counts: counts, sums: sums, size: size)
        }
    }

    deinit {
        for total in totals {
            total.counts.deallocate()
            total.sums.deallocate()
        }
        for mask in masks.joined() { mask?.deallocate() }
    }

    /// The site of one layer for the next `rows` tokens, for the activation kernels.
    func site(module: Int, layer: Int, rows: Int) -> csimd_site {
        let offset = layer * modules[module].neurons
        return csimd_site(
            mask: masks[module][layer],
            counts: isCounting ? totals[module].counts + offset : nil,
            sums: isCounting ? totals[module].sums + offset : nil,
            fired: firing?.append(module: module, layer: layer, rows: rows))
    }

    /// Notes that every layer of a module saw `tokens` more tokens.
    func saw(tokens: Int, module: Int) {
        if isCounting { totals[module].tokens += Int64(tokens) }
    }

    /// What was counted so far, one entry per module; empty if not counting.
    public func counts() -> [ModuleCounts] {
        zip(modules, totals).map { module, total in
            var counts = ModuleCounts(shape: module)
            counts.counts = Array(UnsafeBufferPointer(start: total.counts, count: total.size))
            counts.sums = Array(UnsafeBufferPointer(start: total.sums, count: total.size))
            counts.tokens = total.tokens
            return counts
        }
    }
}
