import MMQImage

/// A model whose MLP activations can be counted.
///
/// This is all that a counting run needs to know of a model, whatever its architecture.
public protocol CountingModel {
    /// The observed modules, in the order in which they are listed everywhere.
    var modules: [ModuleShape] { get }

    /// The module whose token count decides when `--vision-tokens` is reached.
    var visionModule: String { get }

    /// Identifies the weights. It is stored in the study; going on with another model is an error.
    var fingerprint: String { get }

    /// One forward pass over a picture and a prompt, every activation of every module counted.
    ///
    /// - Parameters:
    ///   - image: the picture, as decoded.
    ///   - prompt: the text as it goes to the tokenizer, with `<image>` where the picture belongs.
    ///   - moments: the strongest activations that are kept, with a histogram; nil for none.
    func count(image: RGBImage, prompt: String, moments: MomentRequest?) throws -> SampleCounts

    /// What a picture of that size and a prompt would come to, without decoding or running anything.
    ///
    /// - Parameter size: not asked for by models that see every picture alike.
    /// - Returns: tokens that the vision module would see.
    /// - Throws: what `count` would throw because the model cannot take the sample: a prompt that does
    ///   not fit, or a sequence that is too long.
    func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws -> Int
}

extension CountingModel {
    /// The counts alone.
    public func count(image: RGBImage, prompt: String) throws -> [ModuleCounts] {
        try count(image: image, prompt: prompt, moments: nil).counts
    }
}
