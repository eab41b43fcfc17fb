/// The sizes LLaVA-Next works with: which grid a picture gets, and which features remain of it.
///
/// All as transformers 5 computes it (`select_best_resolution`, `get_patch_output_size`,
/// `unpad_image`, `LlavaNextProcessor._get_number_of_features`), in double precision; where 4.41 does
/// otherwise, `Compatibility` says what.
public enum LlavaNextGeometry {
    /// The part of the joined feature grid that shows the picture and not its padding.
    public struct FeatureRange: Sendable, Equatable {
        /// Rows of the joined grid that stay.
        public let rows: Range<Int>
        /// Columns of the joined grid that stay.
        public let columns: Range<Int>

        /// Image tokens the range takes, one `image_newline` at the end of each row included.
        public var tokenCount: Int { rows.count * (columns.count + 1) }
    }

    /// The grid (in pixels) that keeps most of the picture and then wastes least; of equals the
    /// first. Nil without pinpoints.
    ///
    /// - Precondition: all sizes are at least 1.
    public static func bestResolution(for original: PixelSize, of pinpoints: [PixelSize])
        -> PixelSize?
    {
        let width = Double(original.width)
        let height = Double(original.height)
        let area = original.width * original.height
        var best: PixelSize?
        var mostKept = 0
        var leastWasted = Int.max
        for pinpoint in pinpoints {
            let scale = min(Double(pinpoint.width) / width, Double(pinpoint.height) / height)
            let kept = min(Int(width * scale) * Int(height * scale), area)
            let wasted = pinpoint.width * pinpoint.height - kept
            if kept > mostKept || (kept == mostKept && wasted < leastWasted) {
                mostKept = kept
                leastWasted = wasted
                best = pinpoint
            }
        }
        return best
    }

    /// The size a picture is resized to so that it fits into a grid, its aspect ratio kept and
    /// fractions rounded up.
    ///
    /// - Precondition: all sizes are at least 1.
    public static func fittedSize(of original: PixelSize, in grid: PixelSize) -> PixelSize {
        let scaleWidth = Double(grid.width) / Double(original.width)
        let scaleHeight = Double(grid.height) / Double(original.height)
        if scaleWidth < scaleHeight {
            let height = (Double(original.height) * scaleWidth).rounded(.up)
            return PixelSize(height: min(Int(height), grid.height), width: grid.width)
        }
        let width = (Double(original.width) * scaleHeight).rounded(.up)
        return PixelSize(height: grid.height, width: min(Int(width), grid.width))
    }

    /// What is left of a feature grid when the rows or columns that lie wholly in the padding are
    /// cut off.
    ///
    /// - Parameters:
    ///   - original: the picture's size.
    ///   - rows: rows of the joined grid: tile rows × patches per side.
    ///   - columns: columns of the joined grid.
    ///   - version: whose roundings.
    /// - Precondition: all sizes are at least 1.
    public static func unpaddedFeatureRange(
        original: PixelSize, rows: Int, columns: Int, as version: Compatibility = .current
    ) -> FeatureRange {
        if version.isWider(original, thanRows: rows, columns: columns) {
            let kept = version.features(
                of: original.height, whereOther: original.width, takes: columns)
            let padding = halfRoundedDown(rows - kept)
            return FeatureRange(
                rows: clamped(padding, rows - padding, rows), columns: 0..<columns)
        }
        let kept = version.features(of: original.width, whereOther: original.height, takes: rows)
        let padding = halfRoundedDown(columns - kept)
        return FeatureRange(
            rows: 0..<rows, columns: clamped(padding, columns - padding, columns))
    }

    /// Python's `int(round(value, 7))` for a value of at least 0: what lies less than half a
    /// ten-millionth under a whole number counts as that number.
    static func truncatedAfterSevenDecimals(_ value: Double) -> Int {
        let above = value.rounded(.up)
        return above - value < 5e-8 ? Int(above) : Int(value)
    }

    /// Python's `value // 2`, which rounds towards minus infinity.
    private static func halfRoundedDown(_ value: Int) -> Int { value >> 1 }

    private static func clamped(_ start: Int, _ end: Int, _ count: Int) -> Range<Int> {
        let start = min(max(start, 0), count)
        return start..<max(start, min(max(end, 0), count))
    }
}
