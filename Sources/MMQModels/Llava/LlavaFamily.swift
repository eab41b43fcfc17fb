import MMQImage

/// What the LLaVA models have in common: a CLIP tower, a projector of two layers, the decoder, and a
/// prompt that says where the picture belongs. Each says by itself how a picture becomes tiles and how
/// their features are packed.
protocol LlavaFamily: Architecture {
    /// What a model of it was trained with if its decoder is LLaMA's.
    var usualTemplate: ChatTemplate { get }
}

extension LlavaFamily {
    var modules: [ModelModule] {
        [
            ModelModule(name: "lang", role: .decoder),
            ModelModule(name: "vision", role: .tower),
            ModelModule(name: "mmproj", role: .projector),
        ]
    }

    /// The official code wants `vision` to go with the projector. Its `mmproj` setting masks nothing
    /// by a slip of spelling; here it is what its name says.
    var masks: [ModuleMask] {
        [
            ModuleMask(name: "lang", modules: ["lang"]),
            ModuleMask(name: "vision", modules: ["vision", "mmproj"]),
            ModuleMask(name: "mmproj", modules: ["mmproj"]),
        ]
    }

    var namesPicture: Bool { true }
    var metadataKeys: [String] { LlavaCore.metadataKeys }

    /// The checkpoint's own where it is of a known form; where it has none, what such models were
    /// trained with.
    func chatTemplate(_ found: CheckpointTemplate) -> ChatTemplate {
        switch found.form {
        case nil: found.decoder == "mistral" ? .mistral : usualTemplate
        case .userAssistant: usualTemplate
        case .instructions: .mistral
        case .other: .unknown
        }
    }

    /// As it is.
    func studyTurn(_ prompt: String, as version: Compatibility) -> String { prompt }

    /// As it is.
    func studyAnswer(_ answer: String) -> String { answer }
}

/// Indices into the modules.
enum LlavaModule { static let lang = 0, vision = 1, mmproj = 2 }
