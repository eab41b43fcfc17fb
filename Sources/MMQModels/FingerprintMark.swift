import MMQImage

/// What a model is opened with that changes its numbers: results made with one are never mixed with
/// another's, so a model's fingerprint ends with a mark for each that is not the usual one.
public protocol FingerprintMark: RawRepresentable<String>, CaseIterable, Equatable {
    /// What has no mark.
    static var usual: Self { get }
}

extension FingerprintMark {
    /// What a model's fingerprint says it was opened with.
    public init(fingerprint: String) {
        let marks = fingerprint.split(separator: "+").dropFirst().map(String.init)
        self = Self.allCases.first { !$0.mark.isEmpty && marks.contains($0.rawValue) } ?? .usual
    }

    /// How a fingerprint ends.
    var mark: String { self == .usual ? "" : "+" + rawValue }
}

extension Activations: FingerprintMark {
    /// One byte.
    public static let usual = Activations.int8
}

extension Compatibility: FingerprintMark {
    /// What everything else is held against.
    public static let usual = Compatibility.current
}
