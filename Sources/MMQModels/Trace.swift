import MMQFormats
import MMQImage

/// What `mmq trace` can write.
public enum TraceSite: String, CaseIterable, Sendable {
    /// `input_ids` i32 [tokens], and the ids that the towers take, `qformer_input_ids` for example.
    case ids
    /// `pixel_values` f32 [tiles, 3, H, W] or [3, H, W].
    case pixels
    /// `image_features` f32 [image tokens, hidden].
    case image
    /// `hidden.<layer>` f32 [tokens, hidden]: outputs of the decoder layers.
    case hidden
    /// `logits` f32 [tokens, vocabulary].
    case logits
    /// `last_logits` f32 [4, vocabulary], or fewer rows for a shorter prompt.
    case lastLogits = "last-logits"
    /// `<module>_log` i64 and `<module>_value` f64 [layers, neurons], `<module>_len` i64 [1].
    case counts

    /// What is written if nothing is asked for.
    public static let defaults: Set<TraceSite> = [.ids, .lastLogits, .counts]
}

extension VisionLanguageModel {
    /// One pass over a picture and a prompt, written stage by stage to a safetensors file.
    ///
    /// - Parameters:
    ///   - prompt: goes to the tokenizer as it is.
    ///   - activations: layers whose activations are written too, `mlp:<module>.<layer>` [tokens,
    ///     neurons] in the order of the tokens, as they are counted.
    ///   - type: of the activations: F32, or F16, which makes what is beyond 65,504 infinite.
    ///   - mask: what happens to neurons before they are counted.
    ///   - path: written under a temporary name and renamed when complete.
    public func trace(
        image: RGBImage, prompt: String, sites: Set<TraceSite>,
        activations: [ActivationSite] = [], as type: SafetensorsType = .f32, mask: NeuronMask?,
        to path: String
    ) throws {
        let values = TraceActivations(activations, of: modules, as: type)
        let tap = values.tap()
        let observation = Observation(
            modules: modules, counting: sites.contains(.counts), mask: mask, tap: tap)
        let input = try prepare(image: image, prompt: prompt)
        let features = try input.imageFeatures(observation: observation)
        let tokens = input.inputIDs.count
        let hidden = features.count / max(input.imageTokens, 1)
        let layers = decoderModule.layers

        let writer = try SafetensorsWriter(
            path: path,
            tensors: traceTensors(input, sites: sites, hidden: hidden, layers: layers)
                + values.declarations(decoder: backend.module, tokens: tokens))
        do {
            try tap?.check()
            try values.flow(into: writer)
            if sites.contains(.ids) {
                try writer.write("input_ids", input.inputIDs)
                for (name, ids) in input.towerIDs { try writer.write(name, ids) }
            }
            if sites.contains(.pixels) { try writer.write("pixel_values", input.pixelValues) }
            if sites.contains(.image) { try writer.write("image_features", features) }
            let state = try run(
                input, features: features, observation: observation, keepsCache: nil
            ) { layer, x in
                try tap?.check()
                if sites.contains(.hidden) {
                    try writer.write("hidden.\(layer)", UnsafeRawBufferPointer(x))
                }
                if sites.contains(.logits), layer == layers - 1 {
                    try writeLogits(of: x, tokens: tokens, hidden: hidden, to: writer)
                }
            }
            try tap?.check()
            if sites.contains(.lastLogits) {
                try writer.write(
                    "last_logits",
                    state.lastHidden.withUnsafeBufferPointer {
                        try logits(of: $0, rows: state.lastRows)
                    })
            }
            for counts in try finite(observation.counts()) {
                let name = counts.shape.name
                try writer.write(name + "_log", counts.counts)
                try writer.write(name + "_value", counts.sums)
                try writer.write(name + "_len", [counts.tokens])
            }
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }

    private func traceTensors(
        _ input: PreparedInput, sites: Set<TraceSite>, hidden: Int, layers: Int
    ) -> [SafetensorsWriter.Declaration] {
        let tokens = input.inputIDs.count
        var tensors: [SafetensorsWriter.Declaration] = []
        func add(_ site: TraceSite, _ name: String, _ type: SafetensorsType, _ shape: [Int]) {
            if sites.contains(site) {
                tensors.append(.init(name: name, type: type, shape: shape))
            }
        }
        add(.ids, "input_ids", .i32, [tokens])
        for (name, ids) in input.towerIDs.sorted(by: { $0.key < $1.key }) {
            add(.ids, name, .i32, [ids.count])
        }
        add(.pixels, "pixel_values", .f32, input.pixelShape)
        add(.image, "image_features", .f32, [input.imageTokens, hidden])
        for layer in 0..<layers { add(.hidden, "hidden.\(layer)", .f32, [tokens, hidden]) }
        add(.logits, "logits", .f32, [tokens, vocabularySize])
        add(.lastLogits, "last_logits", .f32, [min(4, tokens), vocabularySize])
        for module in modules {
            let shape = [module.layers, module.neurons]
            add(.counts, module.name + "_log", .i64, shape)
            add(.counts, module.name + "_value", .f64, shape)
            add(.counts, module.name + "_len", .i64, [1])
        }
        return tensors
    }

    /// Writes `logits` some rows at a time: those of a whole picture would take 375 MB.
    private func writeLogits(
        of x: UnsafeBufferPointer<Float>, tokens: Int, hidden: Int, to writer: SafetensorsWriter
    ) throws {
        let rowBytes = vocabularySize * MemoryLayout<Float>.size
        for first in stride(from: 0, to: tokens, by: 256) {
            let rows = min(256, tokens - first)
            let part = try logits(
                of: UnsafeBufferPointer(rebasing: x[first * hidden..<(first + rows) * hidden]),
                rows: rows)
            try part.withUnsafeBytes { try writer.write("logits", $0, at: first * rowBytes) }
        }
    }
}
