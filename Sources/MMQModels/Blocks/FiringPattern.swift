import CSIMD
import MMQBase

/// Which neurons fired at which token of one pass: a bit for every module, layer, token and neuron.
///
/// The decoder of LLaVA-Next takes 128 MB for its largest picture, the towers some 40 MB.
public final class FiringPattern {
    /// The modules of the model, in its order.
    public let modules: [ModuleShape]

    private struct Layer {
        var bits: UnsafeMutablePointer<UInt8>?
        var rows = 0
        var capacity = 0
    }
    /// [module][layer]: rows of (neurons + 7) / 8 bytes, in the order in which tokens came.
    private var layers: [[Layer]]

    init(modules: [ModuleShape]) {
        self.modules = modules
        layers = modules.map { Array(repeating: Layer(), count: $0.layers) }
    }

    deinit {
        for layer in layers.joined() { layer.bits?.deallocate() }
    }

    /// Bytes of a row of a module.
    private func rowBytes(_ module: Int) -> Int { (modules[module].neurons + 7) / 8 }

    /// Room for the next `rows` tokens of a layer, to be written before the next call.
    func append(module: Int, layer: Int, rows: Int) -> UnsafeMutablePointer<UInt8> {
        let width = rowBytes(module)
        var entry = layers[module][layer]
        if entry.rows + rows > entry.capacity {
            let capacity = max(entry.rows + rows, entry.capacity * 2)
            let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, capacity * width))
            if let old = entry.bits {
                grown.update(from: old, count: entry.rows * width)
                old.deallocate()
            }
            entry.bits = grown
            entry.capacity = capacity
        }
        guard let bits = entry.bits else { preconditionFailure("rows without memory") }
        let place = bits + entry.rows * width
        entry.rows += rows
        layers[module][layer] = entry
        return place
    }

    /// Tokens that a layer saw.
    public func tokens(module: Int, layer: Int) -> Int { layers[module][layer].rows }

    /// Whether a neuron fired at a token.
    public func fired(module: Int, layer: Int, token: Int, neuron: Int) -> Bool {
        let entry = layers[module][layer]
        precondition(
            (0..<entry.rows).contains(token) && (0..<modules[module].neurons).contains(neuron))
        guard let bits = entry.bits else { return false }
        return bits[token * rowBytes(module) + neuron / 8] >> (neuron % 8) & 1 == 1
    }

    /// Pairs of a neuron and a token in a layer at which this pattern and another differ.
    ///
    /// - Parameter tokens: count these only; nil for all. As many as the layer saw.
    /// - Throws: `InputError.prompt` if the two passes saw different numbers of tokens.
    public func differences(
        _ other: FiringPattern, module: Int, layer: Int, tokens chosen: [Bool]? = nil
    ) throws -> UInt64 {
        guard modules[module] == other.modules[module] else {
            throw InputError.prompt("modules of other shapes cannot be compared")
        }
        let mine = layers[module][layer]
        let its = other.layers[module][layer]
        guard mine.rows == its.rows else {
            throw InputError.prompt(
                "\(modules[module].name) saw \(mine.rows) tokens in one model, \(its.rows) in the "
                    + "other")
        }
        guard let a = mine.bits, let b = its.bits else { return 0 }
        let width = rowBytes(module)
        guard let chosen else { return csimd_differing_bits(a, b, mine.rows * width) }
        precondition(chosen.count == mine.rows)
        return chosen.indices.reduce(0) {
            $0 + (chosen[$1] ? csimd_differing_bits(a + $1 * width, b + $1 * width, width) : 0)
        }
    }
}
