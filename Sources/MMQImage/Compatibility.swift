import CImageCodecs

/// Which transformers, with which Pillow, a model's pictures and prompts are made like.
public enum Compatibility: String, Sendable, CaseIterable {
    /// transformers 5 with Pillow 13: what everything is held against.
    case current = "5"
    /// transformers 4.41 with a Pillow of its time (June 2024), slips included: LLaVA-Next's grids have
    /// their axes swapped where features are joined, an odd padding loses a row or column, pictures
    /// are resized across before down, and InstructBLIP reads the word `<image>`.
    case june2024 = "4.41"

    /// Whether a grid of features that is down × across tiles is joined as across × down.
    var swapsGrids: Bool { self == .june2024 }

    /// In which order Pillow resizes.
    var passOrder: image_codecs_pass_order {
        self == .june2024 ? IMAGE_CODECS_PILLOW_12 : IMAGE_CODECS_PILLOW_13
    }

    /// The size of the black picture that one is laid in the middle of, to be cut into tiles: 4.41
    /// pads both sides by the same, and so leaves out what is odd.
    func canvas(of fitted: PixelSize, in grid: PixelSize) -> PixelSize {
        guard self == .june2024 else { return grid }
        return PixelSize(
            height: grid.height - (grid.height - fitted.height) % 2,
            width: grid.width - (grid.width - fitted.width) % 2)
    }

    /// Whether a picture is wider, for its height, than a grid of features is. 4.41 has the picture's
    /// sides in a tensor and so computes in single precision.
    func isWider(_ picture: PixelSize, thanRows rows: Int, columns: Int) -> Bool {
        let grid = Double(columns) / Double(rows)
        return switch self {
        case .current: Double(picture.width) / Double(picture.height) > grid
        case .june2024: Float(picture.width) / Float(picture.height) > Float(grid)
        }
    }

    /// The features that a side of a picture takes where its other side takes `count`. 4.41 multiplies
    /// by a reciprocal in single precision and drops the fraction; 5 first rounds to seven decimals.
    func features(of side: Int, whereOther other: Int, takes count: Int) -> Int {
        switch self {
        case .current:
            LlavaNextGeometry.truncatedAfterSevenDecimals(
                Double(side) * (Double(count) / Double(other)))
        case .june2024: Int(Float(side) * (1 / Float(other) * Float(count)))
        }
    }
}
