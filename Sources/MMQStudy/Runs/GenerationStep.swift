import MMQBase
import MMQImage
import MMQModels

/// Gives the answers that a domain still lacks, several at a time: sample by sample and in each
/// sample setting by setting, so that a sample's pixels and features are computed once and then
/// forgotten.
///
/// An answer is committed when it is complete, or with others of the same half second. What a killed
/// run leaves out, and only that, is computed by the next one; the study comes out the same. The walk
/// begins anew with every run: a later one may have more samples or other settings.
final class GenerationStep: RunStep {
    /// One answer to give: a sample under a setting.
    struct Job {
        let sample: BenchSample
        let lane: Lane

        /// The answer as it is stored.
        func stored(
            text: String? = nil, problem: String? = nil, tokens: [Int32] = [],
            promptTokens: Int = 0
        ) -> (answer: StoredAnswer, set: AnswerSet) {
            (
                StoredAnswer(
                    position: sample.position, index: sample.index, question: sample.question,
                    groundTruth: sample.answer, attributes: sample.attributes, text: text,
                    problem: problem, tokens: tokens, promptTokens: promptTokens), lane.set
            )
        }
    }

    let samples: BenchSplit
    let start = RunCursor()
    /// As counting does: a small model would spend its time writing.
    let commitInterval = Duration.milliseconds(500)
    var width: Int { plan.settings.batch }

    private let plan: GenerationPlan
    private let lanes: [Lane]
    private let cache = SampleCache()
    private var running: [(job: Job, answer: RunningAnswer)] = []
    private var complete: [(answer: StoredAnswer, set: AnswerSet)] = []
    private var counts: GenerationPlan.Result

    init(_ plan: GenerationPlan, _ domain: Domain) throws {
        self.plan = plan
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.settings.split, form: .full,
            allowsOutside: plan.allowsOutside)
        lanes = try plan.lanes(samples)
        counts = GenerationPlan.Result(domain: domain, outcome: .interrupted)
        counts.held = lanes.reduce(0) { $0 + $1.done.count }
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= plan.settings.samples }

    var shard: Shard? { plan.settings.shard }

    func fraction(_ cursor: RunCursor) -> Double {
        let wanted = lanes.reduce(0) {
            $0 + ($1.part?.progress.total ?? min(plan.settings.samples, samples.count))
        }
        let held = counts.held + counts.answered + counts.problems
        return min(1, Double(held) / Double(max(1, wanted)))
    }

    func jobs(of sample: BenchSample) -> [Job] {
        lanes.filter { !$0.done.contains(sample.position) }.map { Job(sample: sample, lane: $0) }
    }

    func begin(_ job: Job) throws -> Bool {
        let model = plan.model
        let options = plan.settings.options
        let input = try cache.input(of: job.sample) {
            try model.prepareQuestion(job.sample, job.sample.picture(), options)
        }
        let features = try cache.features(under: job.lane) {
            try input.imageFeatures(observation: job.lane.towers)
        }
        let answer = try model.begin(
            input, features: features,
            options: options.generation(
                job.sample, split: plan.settings.split, setting: job.lane.set.setting),
            observation: job.lane.decoder)
        // An answer of one token is complete before any step.
        if answer.isFinished { keep(job, answer.answer) } else { running.append((job, answer)) }
        return answer.isFinished
    }

    func advance() throws -> Int {
        try plan.model.advance(running.map(\.answer))
        let before = running.count
        for entry in running where entry.answer.isFinished { keep(entry.job, entry.answer.answer) }
        running.removeAll { $0.answer.isFinished }
        return before - running.count
    }

    private func keep(_ job: Job, _ answer: GeneratedAnswer) {
        job.lane.given += 1
        complete.append(
            job.stored(
                text: plan.model.architecture.studyAnswer(answer.text), tokens: answer.tokens,
                promptTokens: answer.promptTokens))
        counts.answered += 1
        counts.tokens += answer.tokens.count
    }

    func refuse(_ job: Job, reason: String) -> Bool {
        job.lane.given += 1
        complete.append(job.stored(problem: reason))
        counts.problems += 1
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        let ended = outcome == .reached || outcome == .exhausted
        guard !complete.isEmpty || (shard != nil && ended) else { return }
        let progress = lanes.compactMap { lane in
            lane.part?.at(done: lane.done.count + lane.given, cursor, outcome)
        }
        try plan.study.atomically {
            try plan.study.add(complete)
            for part in progress { try plan.study.store(part) }
        }
        complete = []
    }

    /// What the answers came to.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> GenerationPlan.Result {
        var result = counts
        result.outcome = outcome
        result.samples = cursor.samples
        result.skipped = cursor.skipped
        result.missingFrames = cursor.missingFrames
        result.towerPasses = cache.towerPasses
        return result
    }
}

extension VisionLanguageModel {
    /// A sample's picture and question, with room for the fewest tokens of an answer.
    ///
    /// - Throws: `InputError`, `.tooLong` if the context has not so much.
    func prepareQuestion(
        _ sample: BenchSample, _ picture: @autoclosure () throws -> RGBImage,
        _ options: AnswerOptions
    ) throws -> PreparedInput {
        let input = try prepare(image: picture(), prompt: studyPrompt(sample.prompt))
        let tokens = input.inputIDs.count + max(1, options.minTokens)
        guard tokens <= contextLength else {
            throw InputError.tooLong(tokens: tokens, context: contextLength)
        }
        return input
    }
}
