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
        LlavaModule.allCases.map { ModelModule(name: $0.name, role: $0.role) }
    }

    /// The official code wants `vision` to go with the projector. Its `mmproj` setting masks nothing
    /// by a slip of spelling; here it is what its name says.
    var masks: [ModuleMask] {
        [
            LlavaModule.mask(.lang), LlavaModule.mask(.vision, .mmproj), LlavaModule.mask(.mmproj),
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

/// The modules, in the official order; an observation knows them by their numbers.
enum LlavaModule: Int, CaseIterable {
    case lang, vision, mmproj

    var name: String { "\(self)" }

    var role: ModuleRole {
        switch self {
        case .lang: .decoder
        case .vision: .tower
        case .mmproj: .projector
        }
    }

    /// A mask setting with the name of its first module.
    static func mask(_ first: Self, _ others: Self...) -> ModuleMask {
        ModuleMask(name: first.name, modules: [first.name] + others.map(\.name))
    }
}
