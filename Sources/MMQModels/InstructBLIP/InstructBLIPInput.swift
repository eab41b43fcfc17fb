/// A picture as InstructBLIP's towers take it: squashed, with the instruction for the Q-Former.
struct InstructBLIPInput: TowerInput {
    let pixelValues: [Float]
    let pixelShape: [Int]
    /// Ids of the Q-Former's vocabulary.
    let instruction: [Int32]
    let model: InstructBLIPModel

    var tokenIDs: [String: [Int32]] { ["qformer_input_ids": instruction] }

    func places(in role: ModuleRole) -> [PicturePlace] { model.places(in: role) }

    func features(observation: Observation?) throws -> [Float] {
        try model.features(of: self, observation: observation)
    }
}
