import MMQBase

/// What a model's turns look like: what `mmq.chat_template` in the vision file says.
public enum ChatTemplate: String, Sendable, CaseIterable {
    /// The words as they are.
    case none
    /// Vicuna's with the sentence before the first turn, as LLaVA's own code and the MMNeuron study
    /// have it ("curious user"; the template on the models' pages says "human").
    case vicuna
    /// Vicuna's turns alone.
    case userAssistant = "user-assistant"
    /// Mistral's instructions.
    case mistral
    /// The checkpoint's own is none of these.
    case unknown

    /// Puts the template round a turn; nil where it is not known.
    public func around(_ turn: String) -> String? {
        switch self {
        case .none: turn
        case .vicuna:
            "A chat between a curious user and an artificial intelligence assistant. "
                + "The assistant gives helpful, detailed, and polite answers to the user's questions. "
                + "USER: \(turn) ASSISTANT:"
        case .userAssistant: "USER: \(turn) ASSISTANT:"
        case .mistral: "[INST] \(turn) [/INST]"
        case .unknown: nil
        }
    }
}

extension Architecture {
    /// A user's words as a turn: the picture comes first where the words do not name it.
    public func turn(_ words: String) -> String {
        guard namesPicture, PromptText.count(PromptText.image, in: words) == 0 else { return words }
        return PromptText.image + "\n" + words
    }
}

extension ModelFiles {
    /// The template that the model was trained with.
    public func chatTemplate() throws -> ChatTemplate {
        let key = ProcessorMetadata.templateKey
        let name = try vision.metadata.string(key)
        guard let template = ChatTemplate(rawValue: name) else {
            throw InputError(
                .unsupported, file: vision.path, item: "key '\(key)'",
                expected: Self.knownTemplates, found: quoted(name))
        }
        return template
    }

    private static let knownTemplates = ChatTemplate.allCases.filter { $0 != .unknown }
        .map(\.rawValue).joined(separator: ", ")

    /// Puts the model's own template round a user's words.
    ///
    /// - Throws: `InputError` where the model's template is not known.
    public func prompt(_ words: String) throws -> String {
        try around(model.architecture.turn(words))
    }

    /// What the official code makes of a bench's prompt of the form `.full`, for the tokenizer.
    ///
    /// - Throws: `InputError` where the model's template is not known.
    public func studyPrompt(_ prompt: String) throws -> String {
        try around(model.architecture.studyTurn(prompt, as: compatibility))
    }

    private func around(_ turn: String) throws -> String {
        guard let prompt = try chatTemplate().around(turn) else {
            throw InputError(
                .unsupported, file: vision.path, item: "key '\(ProcessorMetadata.templateKey)'",
                expected: "a checkpoint with one of the templates that mmq knows "
                    + "(\(Self.knownTemplates)); with ask, --raw-prompt takes the prompt as it is",
                found: "another one")
        }
        return prompt
    }
}

extension VisionLanguageModel {
    /// See ``ModelFiles/prompt(_:)``.
    public func prompt(_ words: String) throws -> String { try files.prompt(words) }

    /// See ``ModelFiles/studyPrompt(_:)``.
    public func studyPrompt(_ prompt: String) throws -> String { try files.studyPrompt(prompt) }
}
