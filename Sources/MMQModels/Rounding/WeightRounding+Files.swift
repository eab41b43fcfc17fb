import CSIMD
import Foundation
import MMQBase
import MMQFormats

extension WeightRounding {
    // MARK: files of layers

    private static let partKey = "mmq.rounding", promptsKey = "mmq.rounding.prompts"
    private var takenMark: String { String(taken.value, radix: 16) }

    /// Where a layer lies until the last is done.
    func part(_ index: Int) -> String {
        (folder as NSString).appendingPathComponent(".rounding-\(index).part")
    }

    func keep(_ index: Int, _ rounded: [String: RoundedMatrix]) throws {
        let tensors = rounded.sorted { $0.key < $1.key }
        let writer = try GGUFWriter(
            path: part(index),
            metadata: [
                (Self.partKey, .string(key)), (Self.promptsKey, .string(takenMark)),
            ],
            tensors: tensors.map { name, matrix in
                .init(
                    name: name, type: types[name] ?? .f32, shape: [matrix.rows, matrix.cols])
            })
        do {
            for (name, matrix) in tensors { try writer.write(name, .init(matrix.bytes)) }
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// A layer that an earlier run left; nil if there is none.
    ///
    /// - Throws: `InputError`, `.mismatch` if it is of another run.
    func kept(_ index: Int) throws -> [String: csimd_matrix]? {
        guard let file = try keptFile(index) else { return nil }
        layerFiles[index] = file
        return try Dictionary(
            uniqueKeysWithValues: file.tensors.map {
                let view = try file.weight($0.name)
                return (
                    $0.name,
                    csimd_matrix(
                        type: view.type, data: view.pointer, rows: view.rows, cols: view.cols)
                )
            })
    }

    func keptFile(_ index: Int) throws -> GGUFFile? {
        let path = part(index)
        guard exists(path) else { return nil }
        do {
            let file = try GGUFFile(path: path)
            try check(file, index)
            return file
        } catch let error as InputError where options.replace && error.code != .unreadable {
            unlink(path)
            return nil
        }
    }

    /// Refuses a layer's file that another run left, or that is none.
    private func check(_ file: GGUFFile, _ index: Int) throws {
        let isOwn = try file.metadata.string(Self.partKey) == key
        // Prompts come in later than the folder is looked at.
        guard isOwn, try prompts.isEmpty || file.metadata.string(Self.promptsKey) == takenMark
        else {
            throw InputError(
                .mismatch, file: file.path,
                (isOwn
                    ? "left by a run that took other samples in, or other pictures"
                    : "left by a run with another model, other prompts or other options")
                    + "; --force begins anew")
        }
        for linear in decoder.layers[index].products {
            let name = linear.name ?? ""
            guard let tensor = file[name], tensor.type == types[name],
                tensor.shape == [linear.outputs, linear.inputs]
            else {
                throw InputError(
                    .missingTensor, file: file.path, item: "tensor '\(name)'",
                    expected: "a layer that an earlier run left")
            }
        }
    }

    // MARK: the model's files

    private func path(_ name: String) -> String {
        (folder as NSString).appendingPathComponent(name)
    }

    /// The language file that is made.
    var languagePath: String { path(.language, options.types.name) }

    /// The copy of the vision file: its name, if a folder's is found by that.
    var visionPath: String {
        let name = (model.files.vision.path as NSString).lastPathComponent
        if ModelFiles.isName(name, of: .vision) { return path(name) }
        let number = model.files.vision.metadata["general.file_type"]?.integer
        let type = StoredType.allCases.first { Int($0.fileType) == number }
        return path(.vision, type?.rawValue ?? "copy")
    }

    private func path(_ role: ModelFileRole, _ type: String) -> String {
        path("\(role.rawValue)-\(type).gguf")
    }

    /// Writes the language file and copies the vision file.
    func write() throws -> [String] {
        let source = model.files.language
        // It is opened with what it was rounded with, if nothing else is said.
        var metadata = source.metadata.members.filter { $0.key != Activations.key }
        metadata += model.backend.workspace.activations.metadata
        if let place = metadata.firstIndex(where: { $0.key == "general.file_type" }) {
            metadata[place].value = .uint32(options.types.fileType)
        }
        let rows = model.files.table.rows(.language)
        let writer = try GGUFWriter(
            path: languagePath, metadata: metadata,
            tensors: rows.map {
                .init(name: $0.name, type: types[$0.name] ?? .f32, shape: $0.shape)
            })
        do {
            let products = decoder.layers.map { Set($0.products.compactMap(\.name)) }
            for index in decoder.layers.indices {
                guard let file = try keptFile(index) else {
                    throw InputError(.missingTensor, file: part(index), expected: "a layer")
                }
                for name in products[index] {
                    try writer.write(name, file.bytes(file.tensor(name)))
                }
            }
            for row in others { try copy(row, to: writer) }
            try writer.finish()
            let vision = try copyVision()
            try writer.commit()
            return [writer.path, vision]
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// The tensors that are no product of a layer's.
    private var others: [TensorRow] {
        let products = Set(decoder.layers.flatMap(\.products).compactMap(\.name))
        return model.files.table.rows(.language).filter { !products.contains($0.name) }
    }

    /// Calls `body` with the rows of a tensor that is not stored as it is, and with its type.
    private func forEachRow(
        _ row: TensorRow, _ body: (Int, inout [Float], GGUFTensorType, csimd_type) throws -> Void
    ) throws -> Bool {
        let file = model.files.language
        guard let type = types[row.name], type != file[row.name]?.type, let kernel = type.kernelType
        else { return false }
        let view = try file.weight(row.name)
        var values = [Float](repeating: 0, count: row.cols)
        for r in 0..<row.rows {
            csimd_dequantize_row(view.type, view.pointer + r * view.rowBytes, &values, row.cols)
            try body(r, &values, type, kernel)
        }
        return true
    }

    /// Refuses weights that cannot be stored before any work is done; those of layers when their turn
    /// comes.
    func requireStorable() throws {
        for row in others {
            _ = try forEachRow(row) { r, values, type, _ in
                try type.requireStorable(
                    &values, row.cols, from: r * row.cols, of: row.name, row.shape,
                    in: model.files.language.path)
            }
        }
    }

    /// Writes a tensor that is no product of a layer's: as it is, or rounded to its type.
    private func copy(_ row: TensorRow, to writer: GGUFWriter) throws {
        var stored: [UInt8] = []
        let isRounded = try forEachRow(row) { r, values, _, kernel in
            let rowBytes = csimd_row_bytes(kernel, row.cols)
            if stored.isEmpty { stored = [UInt8](repeating: 0, count: rowBytes) }
            csimd_quantize_row(kernel, values, nil, &stored, row.cols)
            try stored.withUnsafeBytes { try writer.write(row.name, $0, at: r * rowBytes) }
        }
        if !isRounded {
            try writer.write(
                row.name, model.files.language.bytes(model.files.language.tensor(row.name)))
        }
    }

    private func copyVision() throws -> String {
        let source = model.files.vision, path = visionPath
        let output = try OutputFile(path: path)
        do {
            try output.write(source.bytes, at: 0)
            try output.commit()
        } catch {
            output.abandon()
            throw error
        }
        return path
    }
}
