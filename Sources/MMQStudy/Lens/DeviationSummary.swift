import MMQBase

/// How far one domain's mask moves the hidden states of a domain's samples.
public struct DeviationSummary: Sendable, Equatable, Codable {
    /// One layer; nil where there are no such positions.
    public struct Layer: Sendable, Equatable, Codable {
        /// Mean cosine between a row with and without the mask, image positions.
        public let imageCosine: Double?
        /// Mean |difference| / |row without the mask|, image positions.
        public let imageDistance: Double?
        /// The same over all other positions.
        public let textCosine: Double?
        /// See `imageDistance`.
        public let textDistance: Double?
    }

    /// The domain whose samples were run.
    public let domain: Domain
    /// The domain whose neurons were off.
    public let mask: Domain
    /// Samples.
    public let samples: Int
    /// The layers.
    public let layers: [Layer]
}

extension Study {
    /// Means of a pass of the deviation over all its samples, one entry per mask.
    public func deviationSummaries(_ pass: LensPass) throws -> [DeviationSummary] {
        let samples = try deviationSamples(pass)
        return try Domain.allCases.compactMap { mask in
            let some = samples.filter { $0.mask == mask }
            guard !some.isEmpty else { return nil }
            // Those of one pass are shown side by side.
            var sums = [Double](repeating: 0, count: samples[0].sums.count)
            for sample in some {
                guard sample.sums.count == sums.count, sums.count % 4 == 0 else {
                    throw InputError(
                        .badInput, file: path, item: mask.rawValue,
                        "samples of the deviation with different numbers of layers")
                }
                for i in sums.indices { sums[i] += sample.sums[i] }
            }
            let image = some.reduce(0) { $0 + $1.imageTokens }
            let text = some.reduce(0) { $0 + $1.textTokens }
            func mean(_ sum: Double, _ count: Int) -> Double? {
                count > 0 ? sum / Double(count) : nil
            }
            return DeviationSummary(
                domain: pass.domain, mask: mask, samples: some.count,
                layers: stride(from: 0, to: sums.count, by: 4).map {
                    .init(
                        imageCosine: mean(sums[$0], image),
                        imageDistance: mean(sums[$0 + 1], image),
                        textCosine: mean(sums[$0 + 2], text),
                        textDistance: mean(sums[$0 + 3], text))
                })
        }
    }
}
