/// Bits that a weight takes in a file, scales included: matrices alone, for norms and biases are few
/// and always f32.
public struct WeightBits: Encodable, Sendable, Equatable {
    /// "all"; the beginning of the tensors' names (`blk`, a module's); or one matrix of all layers
    /// (`blk.*.ffn_gate`).
    public let group: String
    /// How many weights.
    public private(set) var weights: Int
    /// Their bytes.
    public private(set) var bytes: Int

    /// Bits a weight.
    public var bits: Double { 8 * Double(bytes) / Double(max(1, weights)) }

    enum CodingKeys: CodingKey { case group, weights, bytes, bits }

    /// The bits with the rest.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(group, forKey: .group)
        try container.encode(weights, forKey: .weights)
        try container.encode(bytes, forKey: .bytes)
        try container.encode(bits, forKey: .bits)
    }

    /// All matrices first, then each module, in a file's order, with its matrices behind it where
    /// it has layers.
    static func of(_ tensors: [Inspection.Tensor]) -> [WeightBits] {
        var all = WeightBits(group: "all", weights: 0, bytes: 0)
        var modules: [(total: WeightBits, parts: [WeightBits])] = []
        for tensor in tensors where tensor.shape.count > 1 {
            let weights = tensor.shape.reduce(1, *)
            func add(_ group: String, to list: inout [WeightBits]) {
                let place = list.firstIndex { $0.group == group } ?? list.count
                if place == list.count {
                    list.append(WeightBits(group: group, weights: 0, bytes: 0))
                }
                list[place].add(weights, tensor.bytes)
            }
            all.add(weights, tensor.bytes)
            let words = tensor.name.split(separator: ".").map(String.init)
            let layer = words.firstIndex { Int($0) != nil }
            // A module is what stands before the layers: `blk`, `v.blk`.
            let module = (layer.map { words[..<$0] } ?? words.prefix(1)).joined(separator: ".")
            var place = modules.firstIndex { $0.total.group == module } ?? modules.count
            if place == modules.count {
                modules.append((WeightBits(group: module, weights: 0, bytes: 0), []))
                place = modules.count - 1
            }
            modules[place].total.add(weights, tensor.bytes)
            if let layer, words.count > layer + 2 {
                let part = words[(layer + 1)...].filter { $0 != "weight" }
                add(module + ".*." + part.joined(separator: "."), to: &modules[place].parts)
            }
        }
        return all.weights == 0 ? [] : [all] + modules.flatMap { [$0.total] + $0.parts }
    }

    private mutating func add(_ weights: Int, _ bytes: Int) {
        self.weights += weights
        self.bytes += bytes
    }
}
