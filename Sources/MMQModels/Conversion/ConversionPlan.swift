import MMQBase
import MMQFormats

/// A tensor that is stored in another type than the one asked for.
public struct Fallback: Sendable, Equatable, Encodable {
    /// Its name in the GGUF file.
    public let tensor: String
    /// What it is stored as.
    public let type: GGUFTensorType

    enum CodingKeys: CodingKey { case tensor, type }

    /// The type by its name.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(tensor, forKey: .tensor)
        try container.encode(type.name, forKey: .type)
    }
}

/// One tensor to convert: where it comes from and what it becomes.
struct PlannedTensor: Sendable {
    let row: TensorRow
    let file: SafetensorsFile
    let source: SafetensorsTensor
    let type: GGUFTensorType
    /// How much the error of each column counts, [cols]; nil: all alike.
    var importance: [Float]?

    /// Where in the source's data, in elements, the tensor begins.
    var firstElement: Int {
        (row.sourceRows?.lowerBound ?? 0) * (row.shape.count > 1 ? row.cols : 1)
    }

    /// Rows of one head, where heads are interleaved.
    var headRows: Int? { row.permutedHeads.map { row.rows / $0 } }
}

/// Every tensor of a checkpoint matched with the model's table, before a byte is converted.
struct ConversionPlan: Sendable {
    var tensors: [PlannedTensor] = []
    /// Tensors whose rows are no whole blocks of the type that was asked for, and what they are
    /// stored as instead.
    var fallbacks: [Fallback] = []
    /// Whether the output head is a tensor of its own.
    let hasHead: Bool

    /// Matches names, shapes and types; the first tensor that is missing, left over or wrong is an
    /// error that names it.
    init(
        model: any ModelConfiguration, checkpoint: SafetensorsCheckpoint, language: WeightTypes,
        vision: StoredType
    ) throws {
        let hasHead = Self.hasHead(model, checkpoint)
        let table = model.table(hasHead: hasHead)
        try language.check(table.rows(.language), folder: checkpoint.folder)
        let layers = model.text.layers
        try self.init(
            table: table, hasHead: hasHead, architecture: model.architecture.modelType,
            checkpoint: checkpoint
        ) {
            $0.role == .language
                ? language.type(of: $0, layers: layers, hasHead: hasHead) : vision.type(of: $0)
        }
    }

    /// Matches a checkpoint with a table; `type` says how a tensor is to be stored.
    init(
        table: TensorTable, hasHead: Bool, architecture: String,
        checkpoint: SafetensorsCheckpoint, type: (TensorRow) -> GGUFTensorType
    ) throws {
        self.hasHead = hasHead
        var used = Set<String>()
        for row in table.rows {
            let (file, source) = try Self.find(row, in: checkpoint)
            used.insert(source.name)
            let wanted = type(row)
            let stored = wanted.storable(cols: row.cols)
            if stored != wanted { fallbacks.append(Fallback(tensor: row.name, type: stored)) }
            tensors.append(PlannedTensor(row: row, file: file, source: source, type: stored))
        }
        for name in checkpoint.names where !used.contains(name) && !table.ignores(name) {
            throw InputError(
                .extraTensor, file: checkpoint[name]?.file.path ?? checkpoint.folder,
                item: "tensor '\(name)'", expected: "only tensors of a \(architecture) model",
                found: "one more")
        }
    }

    /// Takes what an importance file says of the decoder's weights whose type is searched by it.
    ///
    /// - Throws: `InputError` if the file is of another model: it lacks a weight, has one too many or
    ///   one of another width; or if no type takes it.
    mutating func weigh(with file: ImportanceFile) throws {
        let language = tensors.filter { $0.row.role == .language }
        let known = Set(language.map(\.row.name))
        for name in file.names where !known.contains(name) {
            throw InputError(
                .mismatch, file: file.path, item: "tensor '\(name)'",
                "an importance file of another model: this one has no such weight")
        }
        let weighed = tensors.indices.filter {
            let row = tensors[$0].row
            return row.role == .language && row.kind == .matrix && tensors[$0].type.takesImportance
        }
        guard !weighed.isEmpty else {
            throw InputError(
                .badInput, file: file.path, expected: "weights of four to eight bits to weigh",
                found: "none: leave --importance out, or choose another --type")
        }
        for i in weighed {
            let row = tensors[i].row
            guard let importance = try file.importance(of: row.name, inputs: row.cols) else {
                throw InputError(
                    .missingTensor, file: file.path, item: "tensor '\(row.name).in_sum2'",
                    expected: "an entry for every weight of the decoder that it weighs",
                    found: "no such tensor")
            }
            tensors[i].importance = importance
        }
    }

    /// Bytes of weights that will be read.
    var sourceBytes: Int {
        tensors.reduce(0) { $0 + $1.row.rows * $1.row.cols * $1.source.type.byteSize }
    }

    /// The tensors of one file, as its writer wants them.
    func declarations(_ role: ModelFileRole) -> [GGUFWriter.Declaration] {
        tensors.filter { $0.row.role == role }.map {
            GGUFWriter.Declaration(name: $0.row.name, type: $0.type, shape: $0.row.shape)
        }
    }

    /// A tied model whose checkpoint holds both tables keeps both, as transformers does; one that
    /// holds a single table under either name has no head of its own.
    private static func hasHead(
        _ model: any ModelConfiguration, _ checkpoint: SafetensorsCheckpoint
    ) -> Bool {
        guard model.text.tiedHead else { return true }
        let rows = model.table(hasHead: true).rows(.language)
        return ["output.weight", "token_embd.weight"].allSatisfy { name in
            rows.contains { row in
                row.name == name && row.sources.contains { checkpoint[$0] != nil }
            }
        }
    }

    /// Of the names that a missing tensor may have, the one that is spelled like its neighbours.
    private static func likelyName(_ row: TensorRow, _ checkpoint: SafetensorsCheckpoint) -> String
    {
        /// Leading components, each with its dot, that some name in the checkpoint has too.
        func likeness(_ name: String) -> Int {
            checkpoint.names.reduce(0) {
                let common = $1.commonPrefix(with: name)
                return max($0, common.lastIndex(of: ".").map { common[...$0].utf8.count } ?? 0)
            }
        }
        return row.sources.reduce(row.sources[0]) {
            likeness($1) > likeness($0) ? $1 : $0
        }
    }

    private static func find(
        _ row: TensorRow, in checkpoint: SafetensorsCheckpoint
    ) throws -> (SafetensorsFile, SafetensorsTensor) {
        let found = row.sources.filter { checkpoint[$0] != nil }
        guard let name = found.first, let (file, tensor) = checkpoint[name] else {
            throw InputError(
                .missingTensor, file: checkpoint.folder,
                item: "tensor '\(likelyName(row, checkpoint))'",
                expected: "shape \(row.sourceShape)", found: "no such tensor")
        }
        let item = "tensor '\(name)'"
        guard found.count == 1 else {
            throw InputError(
                .duplicate, file: file.path, item: item, expected: "one tensor for \(row.name)",
                found: found.joined(separator: ", "))
        }
        guard tensor.type.isFloat else {
            throw InputError(
                .badType, file: file.path, item: item, expected: "F64, F32, F16 or BF16",
                found: tensor.type.rawValue)
        }
        guard tensor.shape == row.sourceShape else {
            throw InputError(
                .badShape, file: file.path, item: item, expected: "shape \(row.sourceShape)",
                found: "\(tensor.shape)")
        }
        return (file, tensor)
    }
}
