import Foundation
import MMQBase

/// How the next token is chosen.
public struct SamplingOptions: Sendable, Equatable {
    /// Divides the logits; 0 takes the best token.
    public var temperature: Double
    /// Only the k best tokens; 0 for all.
    public var topK: Int
    /// The fewest best tokens whose probabilities add up to at least p; 1 for all.
    public var topP: Double
    /// The same seed gives the same answer.
    public var seed: UInt64

    /// Greedy by default.
    public init(temperature: Double = 0, topK: Int = 0, topP: Double = 1, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
    }
}

/// Chooses tokens from logits, in the order of transformers' logits processors: temperature, then
/// top-k, then top-p.
public struct Sampler: Sendable {
    private let options: SamplingOptions
    private var random: SplitMix64

    /// A sampler at the start of its random sequence.
    public init(_ options: SamplingOptions) {
        self.options = options
        random = SplitMix64(seed: options.seed)
    }

    /// The next token. Ties go to the lower id. NaN logits are never chosen unless all are NaN.
    public mutating func next(_ logits: some RandomAccessCollection<Float>) -> Int32 {
        if options.temperature <= 0 {
            var best = 0
            var bestValue = -Float.infinity
            for (index, value) in logits.enumerated() where value > bestValue {
                best = index
                bestValue = value
            }
            return Int32(best)
        }
        return sample(logits)
    }

    private mutating func sample(_ logits: some RandomAccessCollection<Float>) -> Int32 {
        let candidates = candidates(logits)
        guard let best = candidates.first else { return 0 }
        var weights = candidates.map { exp($0.score - best.score) }
        if options.topP < 1 {
            let total = weights.reduce(0, +)
            var sum = 0.0
            let kept = weights.firstIndex {
                sum += $0
                return sum >= options.topP * total
            }
            weights = Array(weights.prefix((kept ?? weights.count - 1) + 1))
        }
        var draw = random.uniform() * weights.reduce(0, +)
        for (index, weight) in weights.enumerated() {
            draw -= weight
            if draw < 0 { return candidates[index].id }
        }
        return candidates[weights.count - 1].id
    }

    private typealias Candidate = (id: Int32, score: Double)

    /// The tokens to choose from, best first; of equal ones the lower id first.
    private func candidates(_ logits: some RandomAccessCollection<Float>) -> [Candidate] {
        guard options.topK > 0 else {
            let all = logits.enumerated().filter { !$0.element.isNaN }
                .map { (id: Int32($0.offset), score: Double($0.element) / options.temperature) }
            return all.sorted { $0.score != $1.score ? $0.score > $1.score : $0.id < $1.id }
        }
        // Sorting a vocabulary for the sake of 50 tokens would cost as much as a small model's layer.
        var best: [Candidate] = []
        for (id, logit) in logits.enumerated() where !logit.isNaN {
            let score = Double(logit) / options.temperature
            if best.count == options.topK {
                guard let last = best.last, score > last.score else { continue }
                best.removeLast()
            }
            var place = best.count
            while place > 0, best[place - 1].score < score { place -= 1 }
            best.insert((Int32(id), score), at: place)
        }
        return best
    }
}
