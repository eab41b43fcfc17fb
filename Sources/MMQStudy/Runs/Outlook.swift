import MMQBase
import MMQModels

/// What a run would have to do, before it does it: what is there, what is left, how long that takes at
/// this machine's speed.
public struct Outlook: Sendable, Codable, Equatable {
    /// One domain under one setting, or its counts.
    public struct Entry: Sendable, Codable, Equatable {
        /// The domain.
        public let domain: Domain
        /// The mask setting; nil for counting.
        public let setting: String?
        /// Samples that are done.
        public let done: Int
        /// Samples that are left: at most, where the bench may end before.
        public let left: Int
    }

    /// One domain's samples, all settings together.
    public struct Total: Sendable, Codable, Equatable {
        /// The domain.
        public let domain: Domain
        /// Samples that anything is left to do of.
        public let samples: Int
        /// Passes of the towers.
        public let towerPasses: Int
        /// Passes of a prompt through the decoder.
        public let prompts: Int
        /// Seconds, at the measured speed.
        public let seconds: Double
    }

    /// How fast this machine was over one sample.
    public struct Speed: Sendable, Codable, Equatable {
        /// Seconds of a pass of the towers, pixels and tokens included.
        public internal(set) var tower = 0.0
        /// Seconds of a prompt.
        public internal(set) var prompt = 0.0
        /// Seconds of a token of an answer, in a step of as many answers as are decoded together.
        public internal(set) var token = 0.0
        /// Tokens that an answer is taken to have: the mean of those that the study holds.
        public internal(set) var tokens = 0.0
    }

    /// By domain and setting.
    public internal(set) var entries: [Entry] = []
    /// By domain.
    public internal(set) var totals: [Total] = []
    /// What seconds were reckoned from; nil where nothing is left.
    public internal(set) var speed: Speed?

    /// Half of the width of the 95 % interval of a share of one half, which is the widest there is, out
    /// of so many samples: 1.96 √(¼ / n).
    public static func halfWidth(samples: Int) -> Double {
        samples > 0 ? 1.959963984540054 * (0.25 / Double(samples)).squareRoot() : .infinity
    }
}

extension GenerationPlan {
    /// Tokens that an answer is taken to have where the study holds none.
    static let unknownTokens = 8

    /// What this plan would do. Nothing is stored; one sample of the first domain that has any left is
    /// run, to see how fast this machine is.
    public func outlook() throws -> Outlook {
        var outlook = Outlook()
        var speed: Outlook.Speed?
        for domain in settings.domains {
            let samples = try BenchSplit(
                bench: bench, domain: domain, split: settings.split, form: .full,
                allowsOutside: allowsOutside)
            let planned = try plannedLanes(domain, bench: samples.fingerprint)
            let wanted = min(settings.samples, samples.count)
            for lane in planned {
                let done = min(wanted, lane.done.count)
                outlook.entries.append(
                    .init(
                        domain: domain, setting: lane.set.setting, done: done, left: wanted - done))
            }
            // Settings are answered sample by sample, and those that agree in the towers share a pass.
            let left = planned.map { max(0, wanted - $0.done.count) }
            let prompts = left.reduce(0, +)
            let towers = Dictionary(grouping: zip(planned, left)) { $0.0.towerNeurons }
                .values.reduce(0) { $0 + ($1.map(\.1).max() ?? 0) }
            if prompts > 0, speed == nil {
                speed = try measured(samples, planned)
            }
            let pace = speed ?? .init()
            outlook.totals.append(
                .init(
                    domain: domain, samples: left.max() ?? 0, towerPasses: towers,
                    prompts: prompts,
                    seconds: Double(towers) * pace.tower
                        + Double(prompts) * (pace.prompt + pace.tokens * pace.token)))
        }
        outlook.speed = speed
        return outlook
    }

    /// A domain's settings with what the study holds of them; nothing is begun.
    private func plannedLanes(
        _ domain: Domain, bench fingerprint: String
    ) throws -> [Lane] {
        try sets(domain, bench: fingerprint).map { set, held in
            let done =
                held == set
                ? try study.answeredPositions(
                    domain: domain, split: settings.split, setting: set.setting) : []
            return try Lane(set: set, model: model, done: done)
        }
    }

    /// Runs the first sample that can be run under the first setting.
    private func measured(_ samples: BenchSplit, _ lanes: [Lane]) throws -> Outlook.Speed {
        let clock = ContinuousClock()
        var speed = Outlook.Speed()
        speed.tokens =
            try meanTokens(lanes)
            ?? Double(
                min(Self.unknownTokens, settings.options.maxTokens))
        while let item = try samples.next() {
            guard case .sample(let sample) = item else { continue }
            let start = clock.now
            let input = try model.prepare(
                image: sample.picture(),
                prompt: model.architecture.studyPrompt(sample.prompt))
            let features = try input.imageFeatures(observation: lanes.first?.towers)
            speed.tower = clock.seconds(since: start)
            let afterTowers = clock.now
            let options = GenerationOptions(maxTokens: 9, minTokens: 9)
            let running = try (0..<max(1, settings.batch)).map { _ in
                try model.begin(
                    input, features: features, options: options,
                    observation: lanes.first?.decoder)
            }
            speed.prompt = clock.seconds(since: afterTowers) / Double(running.count)
            let afterPrompts = clock.now
            while running.contains(where: { !$0.isFinished }) {
                try model.advance(running.filter { !$0.isFinished })
            }
            // The first of nine tokens comes out of the prompt.
            speed.token = clock.seconds(since: afterPrompts) / Double(8 * running.count)
            break
        }
        return speed
    }

    private func meanTokens(_ lanes: [Lane]) throws -> Double? {
        for lane in lanes where !lane.done.isEmpty {
            let answers = try study.answers(
                domain: lane.set.domain, split: lane.set.split, setting: lane.set.setting
            ).filter { $0.text != nil }
            guard !answers.isEmpty else { continue }
            return Double(answers.reduce(0) { $0 + $1.tokens.count }) / Double(answers.count)
        }
        return nil
    }
}

extension CountingPlan {
    /// What counting these domains would take. Nothing is stored; one sample is counted, to see how fast
    /// this machine is and how many tokens a picture has.
    public func outlook(_ domains: [Domain]) throws -> Outlook {
        let clock = ContinuousClock()
        var outlook = Outlook()
        var vision = 0.0
        for domain in domains {
            let step = try CountingStep(self, domain)
            let held = step.result(step.start, .interrupted)
            if outlook.speed == nil {
                while let item = try step.samples.next() {
                    guard case .sample(let sample) = item else { continue }
                    let start = clock.now
                    let counts = try model.count(image: sample.picture(), prompt: sample.prompt)
                    var speed = Outlook.Speed()
                    speed.prompt = clock.seconds(since: start)
                    outlook.speed = speed
                    vision = Double(
                        counts.filter { $0.shape.name == model.visionModule }
                            .reduce(0) { $0 + $1.tokens })
                    break
                }
            }
            let wanted: Int
            switch goal {
            case .samples(let samples): wanted = samples - held.samples
            case .visionTokens(let tokens):
                let mean =
                    held.samples > 0 ? Double(held.visionTokens) / Double(held.samples) : vision
                wanted = Int((Double(tokens - held.visionTokens) / max(1, mean)).rounded(.up))
            }
            let left = held.finished && wanted <= 0 ? 0 : max(0, min(wanted, step.samples.count))
            outlook.entries.append(
                .init(domain: domain, setting: nil, done: held.samples, left: left))
            outlook.totals.append(
                .init(
                    domain: domain, samples: left, towerPasses: left, prompts: left,
                    seconds: Double(left) * (outlook.speed?.prompt ?? 0)))
        }
        return outlook
    }
}
