import ArgumentParser
import MMQImage
import MMQModels

/// A picture and which neurons are off.
struct InputOptions: ParsableArguments {
    @Option(help: "The picture, JPEG or PNG.")
    var image: String

    @Option(
        help: """
            A mask file: {"\(Architectures.moduleNames[0])": [[12, 40], [], ...], ...}, neurons off \
            in each layer.
            """)
    var mask: String?

    /// Decodes the picture.
    func picture() throws -> RGBImage { try RGBImage.decode(path: image) }

    /// Reads the mask, checked against the model.
    func mask(for model: any VisionLanguageModel) throws -> NeuronMask? {
        try mask.map { try NeuronMask(path: $0, modules: model.modules) }
    }
}
