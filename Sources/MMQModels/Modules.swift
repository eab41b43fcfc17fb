import Foundation

/// The shape of one observed module: how many layers it has and how many neurons each layer has.
///
/// A neuron is one output of an MLP's activation function: SiLU(gate) in the decoder, before the
/// product with up; the GELU output in the towers, the projector and the Q-Former. Modules carry
/// the names of the MMNeuron code, which each ``Architecture`` lists.
public struct ModuleShape: Hashable, Sendable, Codable {
    /// The module's name, `lang` for example.
    public let name: String
    /// How many layers have a site in this module.
    public let layers: Int
    /// How many neurons each layer has (the module's FFN size).
    public let neurons: Int

    /// A module of `layers` × `neurons`.
    public init(name: String, layers: Int, neurons: Int) {
        self.name = name
        self.layers = layers
        self.neurons = neurons
    }
}

/// Which tokens were counted.
public enum Positions: String, Sendable, Codable, CaseIterable {
    /// Every one.
    case all
    /// Those of the picture: image tokens of the decoder; all tokens of a tower, a projector, queries.
    case image
    /// Those of the text.
    case text
}

/// What one or more counting passes saw in one module.
public struct ModuleCounts: Sendable, Equatable {
    /// The module.
    public let shape: ModuleShape
    /// Which of its tokens.
    public var positions = Positions.all
    /// Activations > 0, [layers, neurons] row-major (`<module>_log` in the official files).
    public var counts: [Int64]
    /// Sum of all activations, negative ones included, [layers, neurons] (`<module>_value`).
    public var sums: [Double]
    /// Sum of their squares, [layers, neurons]; empty where they were not kept.
    public var squares: [Double]
    /// The greatest activation, [layers, neurons], -infinity before the first token; empty where
    /// they were not kept.
    public var maxima: [Float]
    /// Tokens seen by each layer (`<module>_len`).
    public var tokens: Int64

    /// All zeros.
    public init(shape: ModuleShape, positions: Positions = .all) {
        self.shape = shape
        self.positions = positions
        let size = shape.layers * shape.neurons
        counts = Array(repeating: 0, count: size)
        sums = Array(repeating: 0, count: size)
        squares = Array(repeating: 0, count: size)
        maxima = Array(repeating: -.infinity, count: size)
        tokens = 0
    }

    /// Adds what another pass saw. What one of the two did not keep is no longer kept.
    ///
    /// - Precondition: `other` is of the same module.
    public mutating func add(_ other: ModuleCounts) {
        precondition(shape == other.shape, "counts of \(other.shape) added to \(shape)")
        if positions != other.positions { positions = .all }
        for i in counts.indices { counts[i] += other.counts[i] }
        for i in sums.indices { sums[i] += other.sums[i] }
        squares =
            squares.isEmpty || other.squares.isEmpty ? [] : zip(squares, other.squares).map(+)
        maxima =
            maxima.isEmpty || other.maxima.isEmpty
            ? [] : zip(maxima, other.maxima).map { $1 > $0 ? $1 : $0 }
        tokens += other.tokens
    }
}
