import MMQFormats

extension Study {
    /// The answers that the study holds, ready to be scored, and the number of samples that have
    /// none.
    ///
    /// - Parameters:
    ///   - domains: the domains wanted; nil for all.
    ///   - split: the split.
    public func scoredAnswers(
        domains: [Domain]? = nil, split: String = "val"
    ) throws -> (answers: [ScoredAnswer], unanswered: Int) {
        var answers: [ScoredAnswer] = []
        var unanswered = 0
        for set in try answerSets(split: split) where domains?.contains(set.domain) ?? true {
            for stored in try self.answers(
                domain: set.domain, split: split, setting: set.setting)
            {
                guard let text = stored.text else {
                    unanswered += 1
                    continue
                }
                answers.append(
                    ScoredAnswer(
                        domain: set.domain, index: stored.index, setting: set.setting,
                        question: stored.question.isEmpty ? nil : stored.question,
                        groundTruth: stored.groundTruth, answer: text,
                        attributes: stored.attributes, choices: stored.choices,
                        source: path))
            }
        }
        return (answers, unanswered)
    }
}

extension StoredAnswer {
    /// The four options of a `med` question, as the bench's table gave them.
    var choices: [String]? { ScoredAnswer.choices(among: attributes) }
}

extension BenchSample {
    /// The four options of a `med` question.
    var choices: [String]? { ScoredAnswer.choices(among: attributes) }
}

extension ScoredAnswer {
    fileprivate static func choices(among attributes: [String: String]) -> [String]? {
        let choices = ["A", "B", "C", "D"].compactMap { attributes["Choice \($0)"] }
        return choices.count == 4 ? choices : nil
    }
}
