/// Bits that a weight takes in a file, scales included: matrices alone, for norms, biases and position
/// embeddings are few and always f32.
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
    static func of(_ tensors: some Sequence<(name: String, shape: [Int], bytes: Int)>)
        -> [WeightBits]
    {
        var all = WeightBits(group: "all", weights: 0, bytes: 0)
        var modules = Groups<(total: WeightBits, parts: Groups<WeightBits>)>()
        for tensor in tensors where tensor.shape.count > 1 && !isPositions(tensor.name) {
            let weights = tensor.shape.reduce(1, *)
            let words = tensor.name.split(separator: ".")
            let layer = words.firstIndex { Int($0) != nil }
            // A module is what stands before the layers: `blk`, `v.blk`.
            let module = (layer.map { words[..<$0] } ?? words.prefix(1)).joined(separator: ".")
            let place = modules.place(module) {
                (WeightBits(group: module, weights: 0, bytes: 0), Groups())
            }
            all.add(weights, tensor.bytes)
            modules.list[place].total.add(weights, tensor.bytes)
            if let layer, words.count > layer + 2 {
                let tail = words[(layer + 1)...].filter { $0 != "weight" }
                let part = module + ".*." + tail.joined(separator: ".")
                let inside = modules.list[place].parts.place(part) {
                    WeightBits(group: part, weights: 0, bytes: 0)
                }
                modules.list[place].parts.list[inside].add(weights, tensor.bytes)
            }
        }
        return all.weights == 0 ? [] : [all] + modules.list.flatMap { [$0.total] + $0.parts.list }
    }

    /// `position_embd` in GGUF, `position_embedding` and `position_embeddings` in checkpoints.
    private static func isPositions(_ name: String) -> Bool { name.contains("position_emb") }

    /// What belongs to names, in the order in which they came.
    private struct Groups<Element> {
        var list: [Element] = []
        private var places: [String: Int] = [:]

        init() {}

        mutating func place(_ name: String, _ make: () -> Element) -> Int {
            if let place = places[name] { return place }
            places[name] = list.count
            list.append(make())
            return list.count - 1
        }
    }

    private mutating func add(_ weights: Int, _ bytes: Int) {
        self.weights += weights
        self.bytes += bytes
    }
}
