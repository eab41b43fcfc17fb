/// Image positions that lie side by side in the picture.
public struct PictureGrid: Sendable, Codable, Equatable {
    /// What the grid is called.
    public let name: String
    /// Rows of patches.
    public let rows: Int
    /// Patches in a row.
    public let columns: Int
    /// The position of the first patch.
    public let first: Int
    /// Whether each row ends with one more position, which has no place.
    public let hasRowEnds: Bool
    /// The left edge of the first patch, as a part of the picture's width; below 0 if the patch
    /// begins in the padding.
    public let x: Double
    /// Its upper edge, as a part of the picture's height.
    public let y: Double
    /// The width of a patch, as a part of the picture's.
    public let cellWidth: Double
    /// The height of a patch, as a part of the picture's.
    public let cellHeight: Double
}
