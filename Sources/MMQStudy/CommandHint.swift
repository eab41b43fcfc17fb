/// What an error says its reader can run or add, in the words of the command line.
public enum CommandHint {
    /// Finds a module's neurons.
    static func identify(_ module: String) -> String { "mmq identify -d \(module)" }
    /// Compares two models sample by sample.
    public static let compareModels = "mmq compare --model A --model B --json"
    /// Names the judge's folder.
    static let judge = "--judge"
    /// Replaces what is there.
    static let replace = "--replace"
    /// Starts over.
    static let again = "--again"
}
