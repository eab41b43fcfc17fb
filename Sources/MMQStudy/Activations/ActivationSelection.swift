import MMQBase
import MMQModels

/// Which of a pass's activations are wanted: layers, neurons of them, and positions.
public struct ActivationSelection: Sendable {
    /// Which rows of a module.
    public enum Rows: String, Sendable, CaseIterable {
        /// Those of the picture.
        case image
        /// Those of the text.
        case text
        /// The one of the prompt's last position, which the decoder alone has.
        case last
        /// Every one.
        case all

        /// Whether a module has any.
        func exist(in role: ModuleRole) -> Bool {
            switch self {
            case .all: true
            case .image: role != .textBranch
            case .text: role == .textBranch || role == .decoder
            case .last: role == .decoder
            }
        }

        /// Which rows of a module these are.
        func chosen(of rows: [TokenRow]) -> [Bool] {
            switch self {
            case .all: rows.map { _ in true }
            case .image: rows.map(\.isImage)
            case .text: rows.map { !$0.isImage }
            case .last: rows.indices.map { $0 == rows.count - 1 }
            }
        }
    }

    /// A layer, and which neurons of it.
    public struct Site: Sendable {
        /// The layer.
        public let place: ActivationSite
        /// The neurons, ascending; nil for all.
        public let neurons: [Int]?
        /// How many.
        public let columns: Int
    }

    /// What is written of every sample, in the model's order.
    public let sites: [Site]
    /// Of which positions.
    public let rows: Rows
    /// Layers that were named and have no such neurons or positions.
    public let leftOut: [String]

    /// - Parameters:
    ///   - words: `mlp`, `mlp:MODULE` or `mlp:MODULE.LAYER`.
    ///   - neurons: for each module the neurons of each layer, ascending; nil for all of them.
    /// - Throws: `InputError` naming a word that is no site, or if nothing would be written.
    public init(
        sites words: [String], neurons: [String: [[Int]]]?, rows: Rows,
        of model: any VisionLanguageModel
    ) throws {
        let roles = Dictionary(
            model.architecture.modules.map { ($0.name, $0.role) }, uniquingKeysWith: { $1 })
        var sites: [Site] = []
        var leftOut: [String] = []
        for place in try ActivationSite.sites(words, of: model.modules) {
            let module = model.modules[place.module]
            let chosen = neurons.map { $0[module.name]?[place.layer] ?? [] }
            let hasRows = roles[module.name].map(rows.exist) ?? true
            guard hasRows, chosen?.isEmpty != true else {
                leftOut.append(place.name)
                continue
            }
            sites.append(
                Site(place: place, neurons: chosen, columns: chosen?.count ?? module.neurons))
        }
        guard !sites.isEmpty else {
            let lacks =
                (neurons == nil ? [] : ["chosen neurons"])
                + (rows == .all ? [] : ["\(rows.rawValue) positions"])
            throw InputError(
                .mismatch, file: "sites", item: words.joined(separator: ","),
                "these layers have no " + lacks.joined(separator: " or no "))
        }
        self.sites = sites
        self.rows = rows
        self.leftOut = leftOut
    }
}
