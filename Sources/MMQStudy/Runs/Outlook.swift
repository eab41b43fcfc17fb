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
        /// Samples that are left.
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
    /// What seconds were reckoned from; nil where nothing is left to compute.
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

    /// What a run of this plan would do. Nothing is stored; one sample of the first domain that has any
    /// left is run, to see how fast this machine is.
    ///
    /// - Throws: `InputError` where the run would throw before it computes anything.
    public func outlook() throws -> Outlook {
        var outlook = Outlook()
        for domain in settings.domains {
            let samples = try BenchSplit(
                bench: bench, domain: domain, split: settings.split, form: .full,
                allowsOutside: allowsOutside)
            let planned = try plannedLanes(domain, bench: samples.fingerprint)
            var done = planned.map { _ in 0 }
            var left = done
            var (seen, unfinished, prompts, towers) = (0, 0, 0, 0)
            while seen < settings.samples, let item = try samples.next() {
                guard case .sample(let sample) = item else { continue }
                seen += 1
                guard settings.shard?.takes(sample.position) ?? true else { continue }
                let isDone = planned.map { $0.done.contains(sample.position) }
                for (lane, isDone) in isDone.enumerated() {
                    if isDone { done[lane] += 1 } else { left[lane] += 1 }
                }
                // Settings are answered sample by sample, and those that agree in the towers share a
                // pass.
                let lanes = zip(planned, isDone).filter { !$0.1 }.map(\.0)
                guard !lanes.isEmpty else { continue }
                unfinished += 1
                do {
                    _ = try model.visionTokens(
                        size: sample.pictureSize(),
                        prompt: model.studyPrompt(sample.prompt))
                    if outlook.speed == nil { outlook.speed = try measured(sample, lanes, planned) }
                } catch let error as InputError where error.reasonOfSample != nil {
                    // What stands for an answer then is found without a pass.
                    continue
                }
                prompts += lanes.count
                towers += Set(lanes.map(\.towerNeurons)).count
            }
            for (number, lane) in planned.enumerated() {
                outlook.entries.append(
                    .init(
                        domain: domain, setting: lane.set.setting, done: done[number],
                        left: left[number]))
            }
            let pace = outlook.speed ?? .init()
            outlook.totals.append(
                .init(
                    domain: domain, samples: unfinished, towerPasses: towers, prompts: prompts,
                    seconds: Double(towers) * pace.tower
                        + Double(prompts) * (pace.prompt + pace.tokens * pace.token)))
        }
        return outlook
    }

    /// A domain's settings with what the study holds of them; nothing is begun.
    private func plannedLanes(
        _ domain: Domain, bench fingerprint: String
    ) throws -> [Lane] {
        try sets(domain, bench: fingerprint).map { set, held in
            // What was made in another way goes, and its parts with it.
            guard held == set else { return try Lane(set: set, model: model, done: []) }
            let done = try study.answeredPositions(
                domain: domain, split: settings.split, setting: set.setting)
            _ = try study.progress(
                of: StudyItem(set), as: settings.shard, isThere: !done.isEmpty, goal: "")
            return try Lane(set: set, model: model, done: done)
        }
    }

    /// Runs a sample as the run begins it: under the first of the settings that lack it.
    private func measured(
        _ sample: BenchSample, _ lanes: [Lane], _ all: [Lane]
    ) throws -> Outlook.Speed {
        let clock = ContinuousClock()
        var speed = Outlook.Speed()
        speed.tokens =
            try meanTokens(all) ?? Double(min(Self.unknownTokens, settings.options.maxTokens))
        let start = clock.now
        let input = try model.prepare(
            image: sample.picture(), prompt: model.studyPrompt(sample.prompt))
        let features = try input.imageFeatures(observation: lanes.first?.towers)
        speed.tower = clock.seconds(since: start)
        let afterTowers = clock.now
        let options = GenerationOptions(maxTokens: 9, minTokens: 9)
        let running = try (0..<max(1, settings.batch)).map { _ in
            try model.begin(
                input, features: features, options: options, observation: lanes.first?.decoder)
        }
        speed.prompt = clock.seconds(since: afterTowers) / Double(running.count)
        let afterPrompts = clock.now
        while running.contains(where: { !$0.isFinished }) {
            try model.advance(running.filter { !$0.isFinished })
        }
        // The first of nine tokens comes out of the prompt.
        speed.token = clock.seconds(since: afterPrompts) / Double(8 * running.count)
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
    /// What counting these domains would do. Nothing is stored; one sample that is left is counted, to
    /// see how fast this machine is.
    ///
    /// - Throws: `InputError` where counting would throw before it computes anything.
    public func outlook(_ domains: [Domain]) throws -> Outlook {
        var outlook = Outlook()
        for domain in domains {
            let step = try CountingStep(self, domain)
            let held = step.result(step.start, .interrupted)
            let left = try step.standing() == .reached ? 0 : left(of: step, &outlook.speed)
            let done = shard == nil ? held.samples : try study.shard(of: held)?.done ?? 0
            outlook.entries.append(.init(domain: domain, setting: nil, done: done, left: left))
            outlook.totals.append(
                .init(
                    domain: domain, samples: left, towerPasses: left, prompts: left,
                    seconds: Double(left) * (outlook.speed?.prompt ?? 0)))
        }
        return outlook
    }

    /// This machine's samples up to the goal, as the run walks over them.
    private func left(of step: CountingStep, _ speed: inout Outlook.Speed?) throws -> Int {
        var cursor = step.start
        var left = 0
        var found = try Array(step.samples.returned(to: cursor, shard: shard).reversed())
        try step.samples.skip(to: cursor.position)
        while !step.isReached(cursor) {
            guard let item = try found.popLast().map(BenchItem.sample) ?? step.samples.next() else {
                break
            }
            guard case .sample(let sample) = item else { continue }
            let isOwn = shard?.takes(sample.position) ?? true
            do {
                try step.passBy(sample)
                if isOwn, speed == nil { speed = try measured(sample) }
            } catch let error as InputError where error.reasonOfSample != nil {
                continue
            }
            cursor.samples += 1
            if isOwn { left += 1 }
        }
        return left
    }

    private func measured(_ sample: BenchSample) throws -> Outlook.Speed {
        let clock = ContinuousClock()
        let start = clock.now
        _ = try model.count(image: sample.picture(), prompt: sample.prompt)
        var speed = Outlook.Speed()
        speed.prompt = clock.seconds(since: start)
        return speed
    }
}
