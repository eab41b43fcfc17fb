/// Where the time of a pass goes: seconds, operations and bytes of each stage, in the order in which
/// they first came. Whatever happens between two stages that were named counts to the later one.
///
/// Set as `Workspace.stages` while a pass is to be looked into; the clock is read a few hundred times
/// in a pass.
public final class StageTimes {
    /// One kind of work.
    public enum Stage: Hashable, Sendable {
        /// Embeddings of tokens or patches, with all that leads to them.
        case embedding
        /// RMS or layer norms.
        case norm
        /// Activations rounded to integers for the products that follow.
        case rounding
        /// A product with a weight [outputs, inputs] in integers (or in f32).
        case product(outputs: Int, inputs: Int, integers: Bool)
        /// Rotary positions.
        case rope
        /// Scores, softmax and the sum of values, of factors rounded to bf16 or in f32.
        case attention(rounded: Bool)
        /// The MLP's activation, with masks and counts where there are any.
        case activation
        /// The residual additions.
        case addition
        /// What was not named.
        case other

        /// Whether it is a product in integers, to be held against the int8 peak.
        public var isInteger: Bool {
            if case .product(_, _, let integers) = self { integers } else { false }
        }

        /// Whether its factors are bf16.
        public var isRounded: Bool { self == .attention(rounded: true) }

        /// As a table shows it.
        public var name: String {
            switch self {
            case .embedding: "embeddings"
            case .norm: "norms"
            case .rounding: "rounding to integers"
            case .product(let outputs, let inputs, let integers):
                "\(outputs) x \(inputs)" + (integers ? "" : " (f32)")
            case .rope: "rotary positions"
            case .attention(let rounded): rounded ? "attention (bf16)" : "attention (f32)"
            case .activation: "activation"
            case .addition: "residual additions"
            case .other: "rest"
            }
        }
    }

    /// What a stage took over a whole pass.
    public struct Entry: Sendable, Encodable {
        /// Which stage.
        public let stage: Stage
        /// Wall time.
        public fileprivate(set) var seconds: Double
        /// Multiplications and additions; 0 where they do not matter.
        public fileprivate(set) var operations: Int
        /// Bytes read and written; 0 where they do not matter.
        public fileprivate(set) var bytes: Int

        /// `stage` by name, `seconds`, `operations`, `bytes`.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(stage.name, forKey: .stage)
            try container.encode(seconds, forKey: .seconds)
            try container.encode(operations, forKey: .operations)
            try container.encode(bytes, forKey: .bytes)
        }

        private enum CodingKeys: String, CodingKey { case stage, seconds, operations, bytes }
    }

    /// The stages, in the order of their first appearance.
    public private(set) var entries: [Entry] = []
    private var places: [Stage: Int] = [:]
    private let clock = ContinuousClock()
    private var last: ContinuousClock.Instant

    /// Starts the clock.
    public init() { last = clock.now }

    /// All stages together.
    public var seconds: Double { entries.reduce(0) { $0 + $1.seconds } }

    /// The time since the last call was spent on `stage`.
    func did(_ stage: Stage, operations: Int = 0, bytes: Int = 0) {
        let now = clock.now
        let place = places[stage, default: entries.count]
        if place == entries.count {
            places[stage] = place
            entries.append(Entry(stage: stage, seconds: 0, operations: 0, bytes: 0))
        }
        entries[place].seconds += last.duration(to: now).seconds
        entries[place].operations += operations
        entries[place].bytes += bytes
        last = now
    }
}
