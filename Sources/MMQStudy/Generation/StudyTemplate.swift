import Foundation
import MMQModels

/// What the official code puts round a bench's full prompt, and does with an answer.
public enum StudyTemplate: Sendable {
    /// LLaVA-Next: the Vicuna template.
    case vicuna
    /// InstructBLIP: the words alone.
    case instruct

    /// The template of a model with these modules.
    public init(modules: [ModuleShape]) {
        self = modules.contains { $0.name == "qformer" } ? .instruct : .vicuna
    }

    /// The text for the model's tokenizer, from a prompt of the form `.full`.
    ///
    /// InstructBLIP's prompt loses `Context: N/A` but keeps the empty line where it stood, as in
    /// the official code. The `<image>` that the official code puts in front is left out: the
    /// model has no such word, its picture always comes first.
    public func apply(to prompt: String) -> String {
        switch self {
        case .vicuna:
            return "A chat between a curious user and an artificial intelligence assistant. "
                + "The assistant gives helpful, detailed, and polite answers to the user's "
                + "questions. USER: \(prompt) ASSISTANT:"
        case .instruct:
            // Foundation's literal replacement and not Swift's `replacing`: that one compares
            // grapheme by grapheme, and "\n" behind "\r" would not be found.
            return prompt.replacingOccurrences(of: "<image>\n", with: "", options: .literal)
                .replacingOccurrences(of: "Context: N/A", with: "", options: .literal)
                .replacingOccurrences(
                    of: "\nAnswer the question using a single word or phrase.",
                    with: " Short Answer:", options: .literal)
        }
    }

    /// The answer as the official code keeps it: InstructBLIP's without white space round it.
    public func clean(_ answer: String) -> String {
        switch self {
        case .vicuna: answer
        case .instruct: answer.trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }
}
