/// Why a model cannot be opened or run.
public enum ModelError: Error, CustomStringConvertible, Sendable {
    /// The prompt does not fit the model: what was expected and what was found.
    case prompt(String)
    /// The sequence is longer than the model's context.
    case tooLong(tokens: Int, context: Int)
    /// Memory that a pass needs cannot be had.
    case outOfMemory(String)
    /// An input file says something that the model cannot take.
    case file(path: String, item: String, expected: String, found: String)

    /// One sentence.
    public var description: String {
        switch self {
        case .prompt(let problem): "prompt: \(problem)"
        case .tooLong(let tokens, let context):
            "the sequence has \(tokens) tokens, the model's context \(context)"
        case .outOfMemory(let what): "out of memory: \(what)"
        case .file(let path, let item, let expected, let found):
            "\(path): \(item): expected \(expected), found \(found)"
        }
    }
}
