/// A picture and a prompt as one model takes them. Only that model runs it: the picture's part of it
/// brings its own towers along, so that no other's can be given.
public struct PreparedInput {
    /// Token ids with image placeholders expanded, [tokens].
    public let inputIDs: [Int32]
    /// How many of `inputIDs` are image placeholders.
    public let imageTokens: Int
    /// What the towers take.
    let picture: any TowerInput
    /// The language model that `inputIDs` were checked against.
    let backend: LanguageBackend

    /// Pixels, [tiles, 3, H, W] or [3, H, W].
    public var pixelValues: [Float] { picture.pixelValues }
    /// The shape of `pixelValues`.
    public var pixelShape: [Int] { picture.pixelShape }
    /// Token ids that the towers take beside the pixels, each list under its name in
    /// transformers' processor.
    public var towerIDs: [String: [Int32]] { picture.tokenIDs }

    /// Runs the towers: [image tokens, hidden], row by row in the order of the placeholders.
    ///
    /// - Parameter observation: what is counted and switched off on the way.
    public func imageFeatures(observation: Observation?) throws -> [Float] {
        try picture.features(observation: observation)
    }

    /// Whether another input, perhaps of another model, has the same tokens and as many pixels.
    public func hasTokens(of other: PreparedInput) -> Bool {
        inputIDs == other.inputIDs && towerIDs == other.towerIDs && pixelShape == other.pixelShape
    }
}

/// What the towers of one model take, with those towers: each architecture has its own type.
protocol TowerInput {
    /// Pixels, [tiles, 3, H, W] or [3, H, W].
    var pixelValues: [Float] { get }
    /// The shape of `pixelValues`.
    var pixelShape: [Int] { get }
    /// See ``PreparedInput/towerIDs``.
    var tokenIDs: [String: [Int32]] { get }
    /// Where the tokens of the module of that role lie in the picture, in order; of the decoder those
    /// of its image tokens, of a branch that reads text none.
    func places(in role: ModuleRole) -> [PicturePlace]
    /// Runs the towers: [image tokens, hidden].
    func features(observation: Observation?) throws -> [Float]
}

extension TowerInput {
    var tokenIDs: [String: [Int32]] { [:] }
}
