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

/// A part of a picture: all four as parts of its width or height, 0 to 1.
public struct PictureBox: Sendable, Codable, Equatable {
    /// The left edge.
    public let x: Double
    /// The upper edge.
    public let y: Double
    /// How wide it is.
    public let width: Double
    /// How high it is.
    public let height: Double

    /// The part of a box that lies in the picture; nil if none does.
    public init?(left: Double, top: Double, right: Double, bottom: Double) {
        x = max(0, left)
        y = max(0, top)
        width = min(1, right) - x
        height = min(1, bottom) - y
        guard width > 0, height > 0 else { return nil }
    }
}

extension PictureGrid {
    /// The grid of a picture that is squashed into a square of side × side patches.
    init(squashed name: String, side: Int, first: Int = 0) {
        self.init(
            name: name, rows: side, columns: side, first: first, hasRowEnds: false, x: 0, y: 0,
            cellWidth: 1 / Double(side), cellHeight: 1 / Double(side))
    }

    /// The same patches at other positions.
    func beginning(at first: Int) -> PictureGrid {
        PictureGrid(
            name: name, rows: rows, columns: columns, first: first, hasRowEnds: hasRowEnds, x: x,
            y: y, cellWidth: cellWidth, cellHeight: cellHeight)
    }

    /// Where a patch lies in the picture; nil if it lies in the padding.
    public func box(row: Int, column: Int) -> PictureBox? {
        let (left, top) = (x + Double(column) * cellWidth, y + Double(row) * cellHeight)
        return PictureBox(left: left, top: top, right: left + cellWidth, bottom: top + cellHeight)
    }
}
