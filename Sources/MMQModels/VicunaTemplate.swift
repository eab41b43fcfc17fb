/// The Vicuna template, as LLaVA's own code and the MMNeuron study have it ("curious user"; the
/// template on the models' pages says "human").
enum VicunaTemplate {
    /// What `mmq.chat_template` says of models that were trained with it.
    static let name = "vicuna"

    /// Puts the template round a turn.
    static func around(_ turn: String) -> String {
        "A chat between a curious user and an artificial intelligence assistant. "
            + "The assistant gives helpful, detailed, and polite answers to the user's questions. "
            + "USER: \(turn) ASSISTANT:"
    }
}
