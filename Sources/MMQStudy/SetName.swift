import MMQBase

/// The name under which neuron sets of all modules lie in a study, side by side with others.
public struct SetName: Hashable, Sendable {
    /// The name.
    public let name: String

    /// Where no set is named.
    public static let usual = SetName(checked: "default")

    /// Whether this is the set that nobody need name.
    public var isUsual: Bool { self == .usual }

    /// A set's name, checked: it is part of a mask setting's name and of a folder's.
    ///
    /// - Throws: `InputError`, `.badInput`.
    public init(_ name: String) throws {
        let isPlain = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "-_.=".utf8.contains($0)
        }
        guard isPlain, let first = name.utf8.first, !"-.=".utf8.contains(first),
            name.utf8.count <= 64
        else {
            throw InputError(
                .badInput, file: "set", item: name,
                "the name of a set has up to 64 letters, digits, '-', '_', '.' and '=', and begins "
                    + "with a letter, a digit or '_'")
        }
        self.init(checked: name)
    }

    private init(checked name: String) { self.name = name }
}
