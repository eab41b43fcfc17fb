extension Study {
    /// The sets of answers that the study holds, by domain, then in the order of
    /// `MaskSetting.standard`, others last by name.
    ///
    /// - Parameter split: only those of that split.
    public func answerSets(split: String? = nil) throws -> [AnswerSet] {
        let sets = try MaskSetting.sorted(storedAnswerSets(), by: \.setting)
            .filter { split == nil || $0.split == split }
        return Domain.allCases.flatMap { domain in sets.filter { $0.domain == domain } }
    }
}
