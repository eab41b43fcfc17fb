import MMQBase
import MMQFormats
import MMQImage

/// What a module is in its model.
public enum ModuleRole: Sendable {
    /// The language model's decoder.
    case decoder
    /// The tower that sees the picture's patches.
    case tower
    /// The MLP that takes the tower's features into the decoder's space.
    case projector
    /// The branch of a Q-Former that reads the instruction.
    case textBranch
    /// The branch of a Q-Former whose queries read the picture.
    case queryBranch
}

/// An observed module, as an architecture has it whatever its size.
public struct ModelModule: Hashable, Sendable {
    /// Its name, as in the MMNeuron code.
    public let name: String
    /// What it is.
    public let role: ModuleRole
}

/// Modules whose domain-specific neurons go off together, under one name.
public struct ModuleMask: Hashable, Sendable {
    /// The setting's name, as in the official code.
    public let name: String
    /// The modules, in the model's order.
    public let modules: [String]
}

/// What a kind of model says of itself: all that conversion, commands, study and report need to know
/// of it, with or without a model at hand. One folder each, listed in ``Architectures``.
public protocol Architecture: Sendable {
    /// Its name in folders and commands, `llava-next` for example.
    var name: String { get }
    /// Its name in sentences.
    var title: String { get }
    /// `model_type` in `config.json`, `mmq.architecture` in the vision file, and how a fingerprint
    /// begins.
    var modelType: String { get }
    /// What the official code calls its folder of results.
    var exportName: String { get }
    /// The observed modules, in the order in which they are listed everywhere: one decoder, one
    /// tower, and what lies between.
    var modules: [ModelModule] { get }
    /// Which modules' neurons go off together, in the order of the official code, without `none` and
    /// `all`, which every model has.
    var masks: [ModuleMask] { get }
    /// Whether a prompt says with `<image>` where the picture belongs.
    var namesPicture: Bool { get }
    /// Keys of its vision file that are no tower's and do not begin with `mmq.`.
    var metadataKeys: [String] { get }

    /// The template of a checkpoint's models.
    func chatTemplate(_ found: CheckpointTemplate) -> ChatTemplate
    /// What the official code makes of a bench's prompt of the form `.full`, without the template.
    ///
    /// - Parameter version: with which transformers.
    func studyTurn(_ prompt: String, as version: Compatibility) -> String
    /// An answer as the official code keeps it.
    func studyAnswer(_ answer: String) -> String

    /// The configuration in a checkpoint's `config.json`.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - file: its path, for errors.
    func configuration(json: JSONValue, file: String) throws -> any ModelConfiguration
    /// The configuration in the metadata of a model's two files.
    func configuration(language: GGUFFile, vision: GGUFFile) throws -> any ModelConfiguration
}

extension Architecture {
    /// The decoder's module.
    public var decoder: String { first(.decoder) }
    /// The module whose tokens an activation run counts as vision tokens.
    public var visionModule: String { first(.tower) }

    /// The setting that switches off neurons of the decoder alone; `all` if there is none.
    public var decoderMask: String { masks.first { $0.modules == [decoder] }?.name ?? "all" }

    private func first(_ role: ModuleRole) -> String {
        modules.first { $0.role == role }?.name ?? ""
    }
}
