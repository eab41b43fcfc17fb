/// Rows and columns, in Hugging Face's order.
public struct PixelSize: Codable, Sendable, Equatable, Hashable {
    /// Rows.
    public var height: Int
    /// Columns.
    public var width: Int

    /// A size in pixels, rows first.
    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }
}
