import ArgumentParser
import MMQBase
import MMQImage
import MMQModels
import MMQStudy

/// What is masked in one pass over a picture.
struct MaskOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What is masked: a file, {\"\(Architectures.moduleNames[0])\": [[12, 40], [], ...], ...} "
                + "with the neurons that are off in each layer, or with --study a setting, "
                + "SETTING@DOMAIN[:KIND], for example "
                + "\(Architectures.moduleNames[0])@med or all@doc:mean.",
            valueName: "mask"))
    var mask: String?

    @OptionGroup var sets: SetOptions

    /// The mask, checked against the model.
    ///
    /// - Parameter study: the study's path, which a setting and the kinds mean and add need.
    func read(for model: any VisionLanguageModel, study path: String?) throws -> NeuronMask? {
        guard let mask else { return nil }
        return try Self.read(mask, for: model, study: path, set: sets.chosen())
    }

    /// The mask that a word names: a file, or with a study's path a setting.
    static func read(
        _ mask: String, for model: any VisionLanguageModel, study path: String?, set: SetName
    ) throws -> NeuronMask? {
        let study = try path.map { try maskStudy(path: $0, for: model) }
        if exists(mask) || study == nil || mask.hasSuffix(".json") {
            return try NeuronMask(
                path: mask, modules: model.modules, resolve: study.map { $0.resolver() })
        }
        guard let study else { return nil }
        try study.checkModules(model.modules)
        let setting = try MaskSetting(name: mask, of: model.architecture, set: set)
        if setting.isNone { return nil }
        guard let domain = setting.domain else {
            throw InputError(
                .badInput, file: "mask", item: mask,
                "no bench says here whose neurons are meant. Name the domain: "
                    + "\(setting.core)@med, for example")
        }
        return try NeuronMask(
            layers: setting.neurons(of: domain, in: study, seed: 0), modules: model.modules,
            file: study.path)
    }
}

/// Opens the study that a mask is taken from.
///
/// - Throws: `InputError` where its pictures and prompts were made like another transformers'.
func maskStudy(path: String, for model: any VisionLanguageModel) throws -> Study {
    let study = try Study(path: path, access: .reading)
    guard let begun = try study.model().map(Compatibility.init(fingerprint:)) else { return study }
    let opened = model.files.compatibility
    guard begun == opened else {
        throw InputError(
            .mismatch, file: path, item: "--compat",
            expected: "\(begun.rawValue), which the study was begun with", found: opened.rawValue)
    }
    return study
}

/// Which neuron sets of a study.
struct SetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The neuron sets, under the name that identify gave them.", valueName: "name"))
    var set: String?

    /// The sets named, or the usual ones.
    func chosen() throws -> SetName { try set.map(SetName.init) ?? .usual }

    func validate() throws {
        do { _ = try chosen() } catch let error as InputError {
            throw ValidationError("--set: \(error.item ?? ""): \(error.problem)")
        }
    }
}

/// Sentences of help texts about masks.
enum MaskWords {
    /// How settings are written.
    static let grammar = """
        A setting is [SET/]SETTING[@DOMAIN][:KIND]. \(ArchitectureWords.masks). @DOMAIN masks that \
        domain's neurons whatever the questions are of. KIND is \(Intervention.words): what becomes \
        of an activation (zero unless said; mean and the standard deviations that F of add counts \
        in are those of the study's counts).
        """
}
