import CSIMD
import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// A weight as it lies in a mapped GGUF file.
///
/// The bytes stay valid as long as the `ModelFiles` that gave the view lives.
public struct WeightView: @unchecked Sendable {  // read-only memory of a mapping
    /// The element type.
    public let type: csimd_type
    /// The shape, rows first.
    public let shape: [Int]
    /// Rows of the tensor seen as a matrix; 1 for a vector.
    public let rows: Int
    /// Columns of the tensor seen as a matrix.
    public let cols: Int
    /// The first byte.
    public let pointer: UnsafeRawPointer
    /// Bytes of one row.
    public let rowBytes: Int

    /// All bytes.
    public var byteCount: Int { rows * rowBytes }

    /// Some of the rows, as a view of their own.
    ///
    /// - Precondition: the range lies within the rows, and the tensor has two dimensions.
    public func rows(_ range: Range<Int>) -> WeightView {
        precondition(shape.count == 2 && range.lowerBound >= 0 && range.upperBound <= rows)
        return WeightView(
            type: type, shape: [range.count, cols], rows: range.count, cols: cols,
            pointer: pointer + range.lowerBound * rowBytes, rowBytes: rowBytes)
    }
}

/// The two mapped GGUF files of a model, checked against the model's tensor table: every tensor is
/// there, none is left over, and shapes and types are right.
public final class ModelFiles: Sendable {
    /// The decoder's file.
    public let language: GGUFFile
    /// The vision file.
    public let vision: GGUFFile
    /// The model's kind and configuration.
    public let model: any ModelConfiguration
    /// The model's tensors.
    public let table: TensorTable
    /// What its products round activations to.
    public let activations: Activations
    /// Whose pictures and prompts it takes.
    public let compatibility: Compatibility

    /// Opens the language and the vision file of a model.
    ///
    /// - Parameter activations: nil for what the language file says.
    public init(
        language languagePath: String, vision visionPath: String, activations: Activations? = nil,
        compatibility: Compatibility = .current
    ) throws {
        let language = try GGUFFile(path: languagePath)
        let vision = try GGUFFile(path: visionPath)
        let model = try Architectures.configuration(language: language, vision: vision)
        let table = model.table(hasHead: language["output.weight"] != nil)
        try Self.check(language, table.rows(.language))
        try Self.check(vision, table.rows(.vision))
        self.language = language
        self.vision = vision
        self.model = model
        self.table = table
        self.compatibility = compatibility
        self.activations = try activations ?? Activations(metadata: language.metadata)
    }

    /// Opens a model folder: the one `language-*.gguf` and the one `vision-*.gguf` in it.
    public convenience init(
        folder: String, activations: Activations? = nil, compatibility: Compatibility = .current
    ) throws {
        try self.init(
            language: Self.file(.language, in: folder), vision: Self.file(.vision, in: folder),
            activations: activations, compatibility: compatibility)
    }

    /// Opens a model folder.
    public static func open(folder: String) throws -> ModelFiles { try ModelFiles(folder: folder) }

    /// Opens two files.
    public static func open(language: String, vision: String) throws -> ModelFiles {
        try ModelFiles(language: language, vision: vision)
    }

    /// The weight of that GGUF name, from whichever file holds it.
    public func weight(_ name: String) throws -> WeightView {
        let file = language[name] != nil ? language : vision
        return try file.weight(name)
    }

    /// Bits a weight of the decoder's layers takes: its matrices, scales included, without norms,
    /// embedding table and head.
    public var decoderBits: Double {
        WeightBits.of(language.tensors.lazy.map { ($0.name, $0.shape, $0.byteCount) })
            .first { $0.group == "blk" }?.bits ?? 0
    }

    /// Whether either file holds that tensor.
    func has(_ name: String) -> Bool { language[name] != nil || vision[name] != nil }

    /// A small weight's elements as f32, row-major.
    public func floats(_ name: String) throws -> [Float] {
        try (language[name] != nil ? language : vision).floats(name)
    }

    /// Whether a file of that name is a model folder's of a role.
    static func isName(_ name: String, of role: ModelFileRole) -> Bool {
        name.hasPrefix(role.rawValue + "-") && name.hasSuffix(".gguf")
    }

    /// The names of a role's GGUF files in a folder, sorted.
    public static func names(_ role: ModelFileRole, in folder: String) throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder)
                .filter { Self.isName($0, of: role) }.sorted()
        } catch {
            throw InputError(.unreadable, file: folder, expected: "a model folder")
        }
    }

    /// The one GGUF file of a role in a model folder.
    public static func file(_ role: ModelFileRole, in folder: String) throws -> String {
        let names = try names(role, in: folder)
        guard let name = names.first, names.count == 1 else {
            throw InputError(
                .unreadable, file: folder, expected: "one \(role.rawValue)-<type>.gguf",
                found: names.isEmpty ? "none" : names.joined(separator: ", "))
        }
        return (folder as NSString).appendingPathComponent(name)
    }

    /// Checks a file's tensors against rows of a table.
    static func check(_ file: GGUFFile, _ rows: [TensorRow]) throws {
        let known = Set(rows.map(\.name))
        for tensor in file.tensors where !known.contains(tensor.name) {
            throw InputError(
                .extraTensor, file: file.path, item: "tensor '\(tensor.name)'",
                expected: "only the model's tensors", found: "one more")
        }
        for row in rows {
            guard let tensor = file[row.name] else {
                throw InputError(
                    .missingTensor, file: file.path, item: "tensor '\(row.name)'",
                    expected: "shape \(row.shape)", found: "no such tensor")
            }
            guard tensor.shape == row.shape else {
                throw InputError(
                    .badShape, file: file.path, item: "tensor '\(row.name)'",
                    expected: "shape \(row.shape)", found: "\(tensor.shape)")
            }
            let allowed = row.kind.allowedTypes
            guard allowed.contains(tensor.type) else {
                throw InputError(
                    .badType, file: file.path, item: "tensor '\(row.name)'",
                    expected: allowed.map(\.name).joined(separator: ", "),
                    found: tensor.type.name)
            }
        }
    }
}

extension TensorKind {
    /// Types that the model code can read for a tensor of this kind.
    public var allowedTypes: [GGUFTensorType] {
        switch self {
        case .matrix, .embedding: GGUFTensorType.computable
        case .kernel: [.f32, .f16, .bf16]
        case .plain: [.f32]
        }
    }
}

extension GGUFFile {
    /// The weight of that name, as it lies in the file.
    func weight(_ name: String) throws -> WeightView {
        let tensor = try tensor(name)
        let cols = tensor.shape.count > 1 ? tensor.shape[1...].reduce(1, *) : tensor.shape[0]
        let rows = tensor.shape.count > 1 ? tensor.shape[0] : 1
        let content = try bytes(tensor)
        guard let type = tensor.type.kernelType, let pointer = content.baseAddress, rows > 0 else {
            throw InputError(
                .badType, file: path, item: "tensor '\(name)'",
                expected: GGUFTensorType.computableNames, found: tensor.type.name)
        }
        return WeightView(
            type: type, shape: tensor.shape, rows: rows, cols: cols, pointer: pointer,
            rowBytes: tensor.byteCount / rows)
    }
}
