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

    /// The part of a side, in features, that is picture: 4.41 drops the fraction, 5 first rounds to
    /// seven decimals.
    func features(_ exact: Double) -> Int {
        self == .june2024
            ? Int(exact) : LlavaNextGeometry.truncatedAfterSevenDecimals(exact)
    }
}
