import MMQImage

/// A picture as LLaVA-Next's tower takes it: tiles.
struct LlavaNextInput: TowerInput {
    let tiling: TiledImage
    let model: LlavaNextModel

    var pixelValues: [Float] { tiling.pixelValues }
    var pixelShape: [Int] { [tiling.tiles, 3, tiling.tileHeight, tiling.tileWidth] }

    func places(in role: ModuleRole) -> [PicturePlace] { model.places(of: tiling, in: role) }

    func features(observation: Observation?) throws -> [Float] {
        try model.features(of: tiling, observation: observation)
    }
}
