import MMQModels

/// Sentences of help texts about the architectures there are.
enum ArchitectureWords {
    /// "of X: none, a, b (with c), all; of Y: ...".
    static let masks = Architectures.all.map { architecture in
        let own = architecture.masks.map(shown)
        return "of \(architecture.title): " + (["none"] + own + ["all"]).joined(separator: ", ")
    }.joined(separator: "; ")

    /// Those whose prompts say where the picture belongs.
    static let namingPicture =
        "\(words: Architectures.all.filter(\.namesPicture).map(\.title), "and")"

    /// A setting, with the modules that go along without being named.
    private static func shown(_ mask: ModuleMask) -> String {
        let named = mask.name.split(separator: "+").map(String.init)
        let others = mask.modules.filter { !named.contains($0) }
        guard named.count == 1, !others.isEmpty else { return mask.name }
        return mask.name + " (with " + others.joined(separator: ", ") + ")"
    }
}

extension DefaultStringInterpolation {
    /// "a, b or c".
    mutating func appendInterpolation(words: [String], _ last: String) {
        let head = words.dropLast().joined(separator: ", ")
        appendLiteral((head.isEmpty ? "" : head + " \(last) ") + (words.last ?? ""))
    }
}
