import ArgumentParser
import MMQImage
import MMQModels

/// A picture and what is masked.
struct InputOptions: ParsableArguments {
    @Option(help: "The picture, JPEG or PNG.")
    var image: String

    @OptionGroup var masking: MaskOptions

    @Option(help: "The study file (SQLite) whose neurons --mask names.")
    var study: String?

    func validate() throws {
        if study != nil, masking.mask == nil {
            throw ValidationError("--study goes with --mask.")
        }
    }

    /// Decodes the picture.
    func picture() throws -> RGBImage { try RGBImage.decode(path: image) }

    /// The mask, checked against the model.
    func mask(for model: any VisionLanguageModel) throws -> NeuronMask? {
        try masking.read(for: model, study: study)
    }
}
