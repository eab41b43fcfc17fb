/// Rows and columns, in Hugging Face's order.
public struct PixelSize: Codable, Sendable, Equatable, Hashable, CustomStringConvertible {
    /// Rows.
    public var height: Int
    /// Columns.
    public var width: Int

    /// A size in pixels, rows first.
    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    /// Rows × columns, as text.
    public var description: String { "\(height) x \(width)" }

    /// Number of pixels.
    var area: Int { height * width }

    /// The largest side a setting may ask for: far beyond any model, and small enough that no
    /// product of settings overflows.
    static let largestSide = 65_536

    /// Which sides a setting may have, in words.
    static let usableSides = "sides of 1 to \(largestSide)"

    /// Whether both sides are in the range of ``usableSides``.
    var isUsable: Bool {
        (1...Self.largestSide).contains(height) && (1...Self.largestSide).contains(width)
    }
}
