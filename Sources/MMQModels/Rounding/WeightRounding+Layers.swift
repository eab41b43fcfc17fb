import CSIMD
import Foundation
import MMQBase
import MMQFormats

extension WeightRounding {
    private var pass: Pass { Pass(model.backend.workspace) }
    private var exactPass: Pass { Pass(exactWorkspace) }

    /// What a layer's attention looks up of rows of the stream, in the pass's `.normed`.
    private func found(_ layer: LlamaDecoder.Layer, _ x: Rows, _ pass: Pass) throws -> Rows {
        try layer.attention.find(
            layer.attentionNorm.apply(x, pass), sees: .causal(keeping: nil),
            angles: decoder.rotary.angles(of: 0..<x.count, pass), pass)
    }

    /// Keeps what a layer's attention looks up in `found`.
    private func look(_ layer: LlamaDecoder.Layer) throws {
        for prompt in prompts {
            let found = try found(layer, prompt.rows(prompt.stream), pass)
            prompt.found.pointer.update(from: found.data, count: found.size)
        }
    }

    /// Adds what its output makes of that.
    private func addAttention(_ layer: LlamaDecoder.Layer) {
        for prompt in prompts {
            addOutput(layer, of: prompt.rows(prompt.found), to: prompt.rows(prompt.stream), pass)
        }
    }

    private func addOutput(_ layer: LlamaDecoder.Layer, of found: Rows, to x: Rows, _ pass: Pass) {
        pass.add(layer.attention.output.apply(pass.operand(found), in: .delta), to: x)
    }

    private func addFeedForward(
        _ layer: LlamaDecoder.Layer, _ index: Int, to x: Rows, _ pass: Pass
    ) {
        pass.add(layer.mlp.apply(layer.mlpNorm.apply(x, pass), at: site(index), pass), to: x)
    }

    private func site(_ layer: Int) -> Site { Site(module: model.backend.module, layer: layer) }

    /// Takes all prompts through a layer that has these weights, and through its own.
    func forward(_ index: Int, rounded: [String: csimd_matrix]) throws {
        let own = decoder.layers[index], layer = own.with(rounded)
        try look(layer)
        addAttention(layer)
        for prompt in prompts {
            addFeedForward(layer, index, to: prompt.rows(prompt.stream), pass)
            guard let exact = prompt.exactRows else { continue }
            addOutput(own, of: try found(own, exact, exactPass), to: exact, exactPass)
            addFeedForward(own, index, to: exact, exactPass)
        }
    }

    /// Rounds a layer's weights, takes all prompts through it and leaves it in its file.
    func round(_ index: Int) throws {
        var rounded: [String: RoundedMatrix] = [:]
        let own = decoder.layers[index]
        var layer = own
        let file = model.files.language.path
        /// Rounds products that take the same inputs; of a layer's two last ones outputs are added to
        /// the stream.
        func roundAlike(
            _ linears: [Linear], addsToStream: Bool = false,
            _ measure: (GatheredInputs) throws -> Void
        ) throws {
            guard let first = linears.first else { return }
            let gathered = GatheredInputs(
                inputs: first.inputs, outputs: addsToStream ? first.outputs : nil,
                correction: options.correction, weight: weight())
            try measure(gathered)
            // Split moments take the room instead.
            model.backend.workspace.release()
            exactWorkspace.release()
            let split = try gathered.moments.split(
                damping: options.damping, of: first.name ?? "", in: file)
            for linear in linears {
                guard let name = linear.name, let type = type(of: linear) else { continue }
                rounded[name] = try RoundedMatrix(
                    rounding: linear.matrix, to: type, by: split, change: gathered.change,
                    refinements: options.refinements, name: name, in: file)
            }
            layer = layer.with(rounded.mapValues(\.matrix))
        }
        /// What a norm makes of the streams.
        func gatherNormed(_ norm: Norm, in gathered: GatheredInputs) {
            for prompt in prompts {
                gathered.add(
                    norm.apply(prompt.rows(prompt.stream), pass),
                    exact: prompt.exactRows.map { norm.apply($0, exactPass) }, of: prompt)
            }
        }
        try roundAlike([own.attention.query, own.attention.key, own.attention.value]) {
            gatherNormed(own.attentionNorm, in: $0)
        }
        try look(layer)
        try roundAlike([own.attention.output], addsToStream: true) { gathered in
            for prompt in prompts {
                let exact = try prompt.exactRows.map { try found(own, $0, exactPass) }
                gathered.add(prompt.rows(prompt.found), exact: exact, of: prompt)
                guard let exact, let stream = prompt.exactRows else { continue }
                addOutput(own, of: exact, to: stream, exactPass)
            }
        }
        addAttention(layer)
        try roundAlike([own.mlp.gate, own.mlp.up]) { gatherNormed(own.mlpNorm, in: $0) }
        try roundAlike([own.mlp.down], addsToStream: true) { gathered in
            for prompt in prompts { gatherInner(layer, index, prompt, in: gathered) }
        }
        for prompt in prompts {
            addFeedForward(layer, index, to: prompt.rows(prompt.stream), pass)
        }
        try withExtendedLifetime(rounded) { try keep(index, rounded) }
    }

    /// What goes into a layer's `down`; the exact stream gets what comes out.
    private func gatherInner(
        _ layer: LlamaDecoder.Layer, _ index: Int, _ prompt: Prompt, in gathered: GatheredInputs
    ) {
        let pass = self.pass, exactPass = self.exactPass
        let own = decoder.layers[index]
        let normed = layer.mlpNorm.apply(prompt.rows(prompt.stream), pass)
        let exactNormed = prompt.exactRows.map { own.mlpNorm.apply($0, exactPass) }
        layer.mlp.forEachInner(of: normed, at: site(index), pass) { chunk, inner in
            guard let exactNormed, let stream = prompt.exactRows else {
                return gathered.add(inner, exact: nil, of: prompt, first: chunk.lowerBound)
            }
            // A chunk is one for the other layer too.
            own.mlp.forEachInner(of: exactNormed[chunk], at: site(index), exactPass) { _, exact in
                gathered.add(inner, exact: exact, of: prompt, first: chunk.lowerBound)
                exactPass.add(
                    own.mlp.down.apply(exactPass.operand(exact), in: .delta), to: stream[chunk])
            }
        }
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
        // It is opened with what it was rounded with, if nothing else is said.
        var metadata = source.metadata.members.filter { $0.key != Activations.key }
        metadata += model.backend.workspace.activations.metadata
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
