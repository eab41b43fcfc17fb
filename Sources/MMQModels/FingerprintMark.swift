import MMQImage

/// A setting that a model is opened with and that its fingerprint ends with, where it is not the usual
/// one: what two settings give is never mixed in a study.
public protocol FingerprintMark: RawRepresentable<String>, CaseIterable, Equatable {
    /// What needs no mark.
    static var usual: Self { get }
}

extension FingerprintMark {
    /// What a model's fingerprint says it was opened with.
    public init(fingerprint: String) {
        let marks = fingerprint.split(separator: "+").dropFirst()
        self = Self.allCases.first { marks.contains(Substring($0.rawValue)) } ?? .usual
    }

    /// How a fingerprint ends.
    var mark: String { self == .usual ? "" : "+" + rawValue }
}

extension Activations: FingerprintMark {
    /// What needs no mark.
    public static let usual = Activations.int8
}

extension Compatibility: FingerprintMark {
    /// What needs no mark.
    public static let usual = Compatibility.current
}
