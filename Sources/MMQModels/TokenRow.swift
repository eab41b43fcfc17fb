import MMQBase

/// Where a token of the picture lies: which tile of it, and which row and column of patches in that
/// tile, from 0; -1 where it has none, as a class token has no row and a query no tile.
public struct PicturePlace: Sendable, Equatable {
    /// The tile, as a tower takes them: 0 is the whole picture where there are several.
    public var tile: Int32 = -1
    /// The row of patches in the tile.
    public var row: Int32 = -1
    /// The column of patches in the tile.
    public var column: Int32 = -1

    /// Nowhere.
    static let none = PicturePlace()
}

/// What a row of a module's activations belongs to.
public struct TokenRow: Sendable, Equatable {
    /// Whether it is one of the picture: a tower's, a projector's, a query's, or one that an image
    /// token of the prompt has.
    public let isImage: Bool
    /// Its place in the picture.
    public let place: PicturePlace
    /// Its id in the vocabulary of the language model or, of the branch of a Q-Former that reads
    /// the instruction, in that one's; -1 where no token is read.
    public let token: Int32
}

extension VisionLanguageModel {
    /// What the rows of a module belong to that a pass over `input` computes, in their order.
    ///
    /// - Parameter module: the module's place in the model's list.
    public func tokenRows(of module: Int, in input: PreparedInput) -> [TokenRow] {
        let name = modules[module].name
        let role = architecture.modules.first { $0.name == name }?.role ?? .tower
        let places = input.picture.places(in: role)
        switch role {
        case .decoder:
            var next = places.makeIterator()
            return input.inputIDs.map { id in
                let isImage = id == imageToken
                let place = isImage ? next.next() : nil
                return TokenRow(isImage: isImage, place: place ?? .none, token: id)
            }
        case .textBranch:
            return (input.towerIDs.values.first ?? []).map {
                TokenRow(isImage: false, place: .none, token: $0)
            }
        case .tower, .projector, .queryBranch:
            return places.map { TokenRow(isImage: true, place: $0, token: -1) }
        }
    }

    /// One pass for the sake of what a tap takes. It ends behind the last layer that is wanted.
    public func pass(_ input: PreparedInput, tap: ActivationTap) throws {
        let observation = Observation(modules: modules, counting: false, tap: tap)
        let features = try input.imageFeatures(observation: observation)
        try tap.check()
        guard let last = tap.lastWanted(of: backend.module) else {
            return try requireFinite(features, "the picture's features")
        }
        do {
            _ = try run(input, features: features, observation: observation, keepsCache: nil) {
                layer, hidden in
                try tap.check()
                guard layer == last else { return }
                try requireFinite(hidden, "the output of layer \(layer)")
                throw PassedEnough()
            }
        } catch is PassedEnough {}
    }
}

/// Ends a pass whose later layers nobody wants.
private struct PassedEnough: Error {}
