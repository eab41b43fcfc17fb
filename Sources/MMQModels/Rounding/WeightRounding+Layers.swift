import CSIMD
import Foundation
import MMQBase
import MMQFormats

extension WeightRounding {
    private var pass: Pass { Pass(model.backend.workspace) }

    private func angles(_ prompt: Prompt, _ pass: Pass) -> Rows {
        decoder.rotary.angles(of: 0..<prompt.isImage.count, pass)
    }

    /// Keeps what a layer's attention looks up in `found`.
    private func look(_ layer: LlamaDecoder.Layer) throws {
        for prompt in prompts {
            let pass = self.pass, x = prompt.rows(prompt.stream)
            let found = try layer.attention.find(
                layer.attentionNorm.apply(x, pass), sees: .causal(keeping: nil),
                angles: angles(prompt, pass), pass)
            prompt.found.pointer.update(from: found.data, count: found.size)
        }
    }

    /// Adds what its output makes of that.
    private func addAttention(_ layer: LlamaDecoder.Layer) {
        for prompt in prompts {
            let pass = self.pass
            let added = layer.attention.output.apply(
                pass.operand(prompt.rows(prompt.found)), in: .delta)
            pass.add(added, to: prompt.rows(prompt.stream))
        }
    }

    private func addFeedForward(_ layer: LlamaDecoder.Layer, _ index: Int) {
        for prompt in prompts {
            let pass = self.pass, x = prompt.rows(prompt.stream)
            let added = layer.mlp.apply(layer.mlpNorm.apply(x, pass), at: site(index), pass)
            pass.add(added, to: x)
        }
    }

    private func site(_ layer: Int) -> Site { Site(module: model.backend.module, layer: layer) }

    /// Takes all prompts through a layer.
    func forward(_ layer: LlamaDecoder.Layer, _ index: Int) throws {
        try look(layer)
        addAttention(layer)
        addFeedForward(layer, index)
    }

    /// Rounds a layer's weights, takes all prompts through it and leaves it in its file.
    func round(_ index: Int) throws {
        var rounded: [String: RoundedMatrix] = [:]
        var layer = decoder.layers[index]
        let weight = self.weight(), file = model.files.language.path
        /// Rounds products that take the same inputs.
        func roundAlike(_ linears: [Linear], _ measure: (SecondMoments) throws -> Void) throws {
            guard let first = linears.first else { return }
            let moments = SecondMoments(inputs: first.inputs)
            try measure(moments)
            let split = try moments.split(
                damping: options.damping, of: first.name ?? "", in: file)
            for linear in linears {
                guard let name = linear.name, let type = types[name]?.kernelType else { continue }
                rounded[name] = try RoundedMatrix(
                    rounding: linear.matrix, to: type, by: split, name: name, in: file)
            }
            layer = layer.with(rounded.mapValues(\.matrix))
        }
        let (attention, mlp) = (layer.attention, layer.mlp)
        try roundAlike([attention.query, attention.key, attention.value]) { moments in
            for prompt in prompts {
                let normed = layer.attentionNorm.apply(prompt.rows(prompt.stream), pass)
                moments.add(normed) { weight(prompt.isImage[$0]) }
            }
        }
        try look(layer)
        try roundAlike([attention.output]) { moments in
            for prompt in prompts {
                moments.add(prompt.rows(prompt.found)) { weight(prompt.isImage[$0]) }
            }
        }
        addAttention(layer)
        try roundAlike([mlp.gate, mlp.up]) { moments in
            for prompt in prompts {
                let normed = layer.mlpNorm.apply(prompt.rows(prompt.stream), pass)
                moments.add(normed) { weight(prompt.isImage[$0]) }
            }
        }
        try roundAlike([mlp.down]) { moments in
            for prompt in prompts {
                let pass = self.pass
                let normed = layer.mlpNorm.apply(prompt.rows(prompt.stream), pass)
                layer.mlp.forEachInner(of: normed, at: site(index), pass) { chunk, inner in
                    moments.add(inner) { weight(prompt.isImage[chunk.lowerBound + $0]) }
                }
            }
        }
        addFeedForward(layer, index)
        try withExtendedLifetime(rounded) { try keep(index, rounded) }
    }

    // MARK: files of layers

    private static let partKey = "mmq.rounding"

    /// Where a layer lies until the last is done.
    func part(_ index: Int) -> String {
        (folder as NSString).appendingPathComponent(".rounding-\(index).part")
    }

    private func keep(_ index: Int, _ rounded: [String: RoundedMatrix]) throws {
        let tensors = rounded.sorted { $0.key < $1.key }
        let writer = try GGUFWriter(
            path: part(index), metadata: [(Self.partKey, .string(key))],
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
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file = try GGUFFile(path: path)
        guard try file.metadata.string(Self.partKey) == key else {
            if options.replace {
                unlink(path)
                return nil
            }
            throw InputError(
                .mismatch, file: path,
                "left by a run with another model, other prompts or other options; --force begins "
                    + "anew")
        }
        for linear in decoder.layers[index].products {
            let name = linear.name ?? ""
            guard let tensor = file[name], tensor.type == types[name],
                tensor.shape == [linear.outputs, linear.inputs]
            else {
                throw InputError(
                    .missingTensor, file: path, item: "tensor '\(name)'",
                    expected: "a layer that an earlier run left")
            }
        }
        return file
    }

    // MARK: the model's files

    /// Writes the language file and copies the vision file.
    func write() throws -> [String] {
        let source = model.files.language
        var metadata = source.metadata.members
        if let place = metadata.firstIndex(where: { $0.key == "general.file_type" }) {
            metadata[place].value = .uint32(options.types.fileType)
        }
        let rows = model.files.table.rows(.language)
        let name = "\(ModelFileRole.language.rawValue)-\(options.types.name).gguf"
        let writer = try GGUFWriter(
            path: (folder as NSString).appendingPathComponent(name), metadata: metadata,
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
            let done = products.reduce(into: Set()) { $0.formUnion($1) }
            for row in rows where !done.contains(row.name) { try copy(row, to: writer) }
            try writer.finish()
            let vision = try copyVision()
            try writer.commit()
            return [writer.path, vision]
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// Writes a tensor that is no product of a layer's: as it is, or rounded to its type.
    private func copy(_ row: TensorRow, to writer: GGUFWriter) throws {
        let source = try model.files.language.tensor(row.name)
        guard let type = types[row.name], type != source.type, let kernel = type.kernelType else {
            return try writer.write(row.name, model.files.language.bytes(source))
        }
        let view = try model.files.language.weight(row.name)
        var values = [Float](repeating: 0, count: row.cols)
        let rowBytes = csimd_row_bytes(kernel, row.cols)
        var stored = [UInt8](repeating: 0, count: rowBytes)
        for r in 0..<row.rows {
            csimd_dequantize_row(view.type, view.pointer + r * view.rowBytes, &values, row.cols)
            csimd_quantize_row(kernel, values, nil, &stored, row.cols)
            try stored.withUnsafeBytes { try writer.write(row.name, $0, at: r * rowBytes) }
        }
    }

    private func copyVision() throws -> String {
        let source = model.files.vision
        let name = (source.path as NSString).lastPathComponent
        let path = (folder as NSString).appendingPathComponent(name)
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
