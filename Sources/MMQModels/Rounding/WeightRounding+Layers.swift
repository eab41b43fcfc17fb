import CSIMD
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
}
