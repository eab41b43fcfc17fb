import MMQBase
import MMQModels

/// One mask setting of a domain, ready to answer under.
final class Lane {
    /// How its answers are made.
    let set: AnswerSet
    /// Positions that the study holds.
    let done: Set<Int>
    /// Masks neurons of the towers; nil if none is masked there.
    let towers: Observation?
    /// Masks neurons of the decoder; nil if none is masked there.
    let decoder: Observation?
    /// What `towers` does: features are shared between lanes where these agree.
    let towerNeurons: [String: [LayerMask]]
    /// How far this machine's part has come; nil where it answers all.
    var part: ShardRun?
    /// Answers that this run gave, or problems in their place.
    var given = 0

    init(
        set: AnswerSet, model: any VisionLanguageModel, done: Set<Int>, part: ShardRun? = nil
    ) throws {
        self.part = part
        self.set = set
        self.done = done
        let off = set.mask.filter { $0.value.contains { !$0.isEmpty } }
        func observation(_ neurons: [String: [LayerMask]]) throws -> Observation? {
            guard !neurons.isEmpty else { return nil }
            return Observation(
                modules: model.modules, counting: false,
                mask: try NeuronMask(
                    layers: neurons, modules: model.modules, file: "mask \(set.setting)"))
        }
        towerNeurons = off.filter { $0.key != model.decoderModule.name }
        towers = try observation(towerNeurons)
        decoder = try observation(off.filter { $0.key == model.decoderModule.name })
    }
}

/// What the lanes share of one sample: pixels and token ids, and for each mask of the towers the
/// features. Only the sample at hand is kept.
final class SampleCache {
    /// Times that features were computed.
    private(set) var towerPasses = 0

    private var position: Int?
    private var input: Swift.Result<PreparedInput, InputError>?
    private var features: [[String: [LayerMask]]: [Float]] = [:]

    /// Pixels and token ids of a sample, made by `prepare` at the first of its jobs.
    func input(
        of sample: BenchSample, prepare: () throws -> PreparedInput
    ) throws -> PreparedInput {
        if position != sample.position {
            position = sample.position
            input = nil
            features = [:]
        }
        if let input { return try input.get() }
        do {
            let made = try prepare()
            input = .success(made)
            return made
        } catch let error as InputError {
            // The same for every setting: no need to find it out again.
            input = .failure(error)
            throw error
        }
    }

    /// The features of the sample at hand under a lane's mask, computed once for all masks that
    /// agree in the towers.
    func features(under lane: Lane, compute: () throws -> [Float]) throws -> [Float] {
        if let known = features[lane.towerNeurons] { return known }
        let computed = try compute()
        towerPasses += 1
        features[lane.towerNeurons] = computed
        return computed
    }
}
