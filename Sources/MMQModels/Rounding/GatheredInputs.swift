/// What goes into products that take the same inputs, over all prompts.
final class GatheredInputs {
    let moments: SecondMoments
    /// Unless nothing is made up for.
    let change: InputChange?
    private let weight: (Bool) -> Float

    /// - Parameters:
    ///   - outputs: of the product whose outputs are added to the residual stream, if they are.
    ///   - correction: what part of the change is made up for.
    ///   - weight: of a position, by whether it holds an image token.
    init(inputs: Int, outputs: Int?, correction: Float, weight: @escaping (Bool) -> Float) {
        moments = SecondMoments(inputs: inputs)
        change =
            correction > 0 ? InputChange(inputs: inputs, outputs: outputs, part: correction) : nil
        self.weight = weight
    }

    /// Rows of a prompt from `first` on, and what they would be in the model that is not rounded; the
    /// prompt's streams as the outputs find them.
    func add(_ x: Rows, exact: Rows?, of prompt: WeightRounding.Prompt, first: Int = 0) {
        let weight = { [self] in self.weight(prompt.isImage[first + $0]) }
        moments.add(x, weight: weight)
        guard let change, let exact, let exactStream = prompt.exactRows else { return }
        change.add(x, exact: exact, weight: weight)
        let rows = first..<first + x.count
        change.addStream(
            x, from: prompt.rows(prompt.stream)[rows], to: exactStream[rows], weight: weight)
    }
}
