/// What an error says its reader can run or add, in the words of the command line.
public enum CommandHint {
    /// Finds a module's neurons.
    static func identify(_ module: String, set: SetName = .usual) -> String {
        "mmq identify -d \(module)" + (set.isUsual ? "" : " --set \(set.name)")
    }
    /// Counts the picture's positions and the text's apart.
    static let positions = "mmq activation --positions"
    /// Compares any number of models with a reference.
    public static let fidelity = "mmq fidelity --reference A --model B --json"
    /// Compares two models sample by sample.
    public static let compareModels = "mmq compare --model A --model B --json"
    /// Names the judge's folder.
    static let judge = "--judge"
    /// Replaces what is there.
    static let replace = "--replace"
    /// Starts over.
    static let again = "--again"
    /// Merges what there is.
    static let partial = "--partial"
    /// Works on one of several parts.
    static let shard = "--shard"
}
