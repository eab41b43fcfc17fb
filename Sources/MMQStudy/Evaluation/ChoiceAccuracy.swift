import MMQBase

/// PMC-VQA's multiple choice accuracy.
enum ChoiceAccuracy {
    /// As the data set's script for its encoder model has it: the output is compared with "A" to
    /// "D", the most similar letter counts, the first of equals.
    static func official(answer: String, label: String) -> Bool {
        let letters = ["A", "B", "C", "D"].map(PythonText.init)
        return mostSimilar(letters, PythonText(answer)) == mostSimilar(letters, PythonText(label))
    }

    /// As its script for the decoder model has it: the output's last character is compared with
    /// the texts of the four choices. (It fails on an empty output: here that is wrong.)
    static func byChoices(answer: String, choices: [String], label: String) -> Bool {
        guard let last = PythonText(answer).scalars.last else { return false }
        let choices = choices.map(PythonText.init)
        return mostSimilar(choices, PythonText(scalars: [last]))
            == mostSimilar(choices, PythonText(label))
    }

    /// As MMNeuron counts it: how often the label occurs in the answer, anywhere. An answer that
    /// names the letter twice counts twice.
    static func occurrences(answer: String, label: String) -> Int {
        let label = PythonText(label).scalars
        guard label.count == 1, ["A", "B", "C", "D", "E"].contains(label[0]) else { return 0 }
        return answer.unicodeScalars.count { $0 == label[0] }
    }

    /// The first text of greatest similarity above zero; nil if none has any.
    private static func mostSimilar(_ texts: [PythonText], _ target: PythonText) -> Int? {
        var best: (index: Int, ratio: Double)?
        for (index, text) in texts.enumerated() {
            let ratio = SequenceMatcher(text, target).ratio
            if ratio > best?.ratio ?? 0 { best = (index, ratio) }
        }
        return best?.index
    }
}
