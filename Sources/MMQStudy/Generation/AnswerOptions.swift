import Foundation
import MMQModels

/// What an answer depends on beside the model, the bench and the neurons that are off.
public struct AnswerOptions: Codable, Equatable, Sendable {
    /// Divides the logits; 0 takes the best token.
    public var temperature: Double
    /// Only the k best tokens; 0 for all.
    public var topK: Int
    /// The fewest best tokens whose probabilities add up to at least p; 1 for all.
    public var topP: Double
    /// The run's seed: of samples and of the random control.
    public var seed: UInt64
    /// Most tokens of an answer.
    public var maxTokens: Int
    /// Fewest tokens before the answer may end.
    public var minTokens: Int

    /// The official settings: temperature 0.9 among the 50 best tokens (the default of
    /// transformers, which the official code leaves as it is), one token or more. Its limit of 512
    /// tokens counts the prompt's words too; here it is the answer's own.
    public init(
        temperature: Double = 0.9, topK: Int = 50, topP: Double = 1, seed: UInt64 = 0,
        maxTokens: Int = 512, minTokens: Int = 1
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
        self.maxTokens = maxTokens
        self.minTokens = minTokens
    }

    /// For one answer: its seed depends on the sample and the setting alone, so neither order nor
    /// batch nor resuming changes it.
    func generation(_ sample: BenchSample, split: String, setting: String) -> GenerationOptions {
        let seed = seedHash(
            seed, sample.domain.rawValue, split, String(sample.position), setting)
        return GenerationOptions(
            sampling: SamplingOptions(
                temperature: temperature, topK: topK, topP: topP, seed: seed),
            maxTokens: maxTokens, minTokens: minTokens)
    }

    /// JSON with sorted keys: equal options give equal text.
    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
