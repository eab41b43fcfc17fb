import CSIMD

/// Histograms of activations are cut at fixed values, so that those of any passes add up.
public enum MomentHistogram {
    /// The values, ascending; 0, where a neuron begins to fire, is one of them.
    public static let edges: [Float] = withUnsafeBytes(of: csimd_edges) {
        Array($0.bindMemory(to: Float.self))
    }
}

/// Which activations a counting pass keeps beside its counts.
public struct MomentRequest: Sendable {
    /// How many of each neuron's can be kept.
    public static let mostKept = Int(CSIMD_MOST_KEPT)
    /// How many are kept unless said otherwise: kernels are fastest with it.
    public static let usuallyKept = Int(CSIMD_USUAL_KEEP)

    /// How many of each neuron's, 1...``mostKept``.
    public let keep: Int
    /// [module][layers × neurons]: an activation has to be greater to be kept.
    public let floors: [[Float]]

    /// The `keep` strongest of each neuron.
    ///
    /// - Parameter floors: as many as the modules have neurons; -infinity keeps whatever comes.
    public init(keep: Int, floors: [[Float]]) {
        precondition((1...Self.mostKept).contains(keep))
        self.keep = keep
        self.floors = floors
    }

    /// The strongest of each neuron, whatever they are.
    public init(keep: Int, of modules: [ModuleShape]) {
        self.init(
            keep: keep,
            floors: modules.map {
                Array(repeating: -.infinity, count: $0.layers * $0.neurons)
            })
    }
}

/// The strongest activations of a module's neurons in a pass, and a histogram of all.
public struct ModuleMoments: Sendable, Equatable {
    /// The module.
    public let shape: ModuleShape
    /// How many are kept of a neuron.
    public let keep: Int
    /// Tokens that each layer saw.
    public var tokens: Int64 = 0
    /// [layers, keep, neurons]: the activations, descending; -infinity where there is none.
    public var values: [Float]
    /// [layers, keep, neurons]: at which of the tokens that the module saw; of equal activations the
    /// first come first.
    public var places: [UInt32]
    /// [layers, edges, neurons]: tokens whose activation is greater than the edge.
    public var above: [UInt32]

    init(
        shape: ModuleShape, keep: Int, tokens: Int64, values: [Float], places: [UInt32],
        above: [UInt32]
    ) {
        self.shape = shape
        self.keep = keep
        self.tokens = tokens
        self.values = values
        self.places = places
        self.above = above
    }

    /// Nothing seen.
    public init(shape: ModuleShape, keep: Int) {
        self.shape = shape
        self.keep = keep
        let size = shape.layers * shape.neurons
        values = Array(repeating: -.infinity, count: size * keep)
        places = Array(repeating: 0, count: size * keep)
        above = Array(repeating: 0, count: size * MomentHistogram.edges.count)
    }
}

/// What a pass over a sample counted.
public struct SampleCounts: Sendable {
    /// In the order of the modules one entry each, or one for the positions of the picture and one
    /// for those of the text.
    public let counts: [ModuleCounts]
    /// In the order of the modules; empty if nothing was asked for.
    public let moments: [ModuleMoments]

    /// What was counted.
    public init(counts: [ModuleCounts], moments: [ModuleMoments] = []) {
        self.counts = counts
        self.moments = moments
    }
}
