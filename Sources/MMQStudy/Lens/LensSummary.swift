import MMQBase

/// Means over some positions of one layer; nil where there are no such positions.
public struct LensMeans: Sendable, Equatable, Codable {
    /// Entropy, natural logarithm.
    public let entropy: Double
    /// Probability of the most probable token.
    public let topProbability: Double
    /// The share of positions whose most probable token is the last layer's.
    public let agreement: Double
    /// KL(last layer ‖ layer), natural logarithm.
    public let divergence: Double

    init?(_ sums: LensSums, positions: Int) {
        guard positions > 0 else { return nil }
        let count = Double(positions)
        entropy = sums.entropy / count
        topProbability = sums.probability / count
        agreement = sums.agreeing / count
        divergence = sums.divergence / count
    }
}

/// What the lens sees in a domain, layer by layer.
public struct LensSummary: Sendable, Equatable, Codable {
    /// One layer.
    public struct Layer: Sendable, Equatable, Codable {
        /// Over image positions.
        public let image: LensMeans?
        /// Over all others.
        public let text: LensMeans?
    }

    /// The pass.
    public let pass: LensPass
    /// Image positions of all samples.
    public let imagePositions: Int
    /// All other positions.
    public let textPositions: Int
    /// The layers.
    public let layers: [Layer]
}

extension Study {
    /// Means of a pass of the lens over all its samples.
    public func lensSummary(_ pass: LensPass) throws -> LensSummary {
        var sums: [LensSums] = []
        var positions = [0, 0]
        for place in try lensPlaces(pass) {
            guard let sample = try lensSample(pass, place: place) else { continue }
            if sums.isEmpty { sums = Array(repeating: LensSums(), count: sample.sums.count) }
            guard sums.count == sample.sums.count else {
                throw InputError(
                    .badInput, file: path, item: pass.domain.rawValue,
                    "samples of the lens with different numbers of layers")
            }
            for i in sums.indices { sums[i].add(sample.sums[i]) }
            let image = sample.isImage.count { $0 }
            positions[0] += image
            positions[1] += sample.isImage.count - image
        }
        return LensSummary(
            pass: pass, imagePositions: positions[0], textPositions: positions[1],
            layers: stride(from: 0, to: sums.count, by: 2).map {
                .init(
                    image: LensMeans(sums[$0], positions: positions[0]),
                    text: LensMeans(sums[$0 + 1], positions: positions[1]))
            })
    }
}
