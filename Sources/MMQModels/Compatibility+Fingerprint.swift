import MMQImage

extension Compatibility {
    /// What a model's fingerprint says it was opened as.
    public init(fingerprint: String) {
        let marks = fingerprint.split(separator: "+").dropFirst().map(String.init)
        self = Self.allCases.first { $0 != .current && marks.contains($0.rawValue) } ?? .current
    }

    /// How a fingerprint ends: counts made as two versions make them are never mixed.
    var mark: String { self == .current ? "" : "+" + rawValue }
}
