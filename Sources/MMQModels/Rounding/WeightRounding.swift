import CSIMD
import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// Second-order rounding of a model's decoder (GPTQ, in the form of LDLQ): every weight is rounded so
/// that its errors make up for each other over what goes into its product, layer by layer, in the
/// model as it is rounded so far; then levels and scales are gone over again, one at a time, as long
/// as that leaves less.
///
/// Prompts are taken in first; what the layers make of them stays in memory, [tokens, hidden] twice,
/// and once more as the model makes it that is not rounded, from which weights learn what to make up
/// for (`InputChange`).
/// Every layer is left in a file of its own until the last is done: a run that was killed takes those
/// up and does the layer anew that was under way. The same prompts make the same bytes on the same
/// instruction set, however often it was killed and on however many threads.
public final class WeightRounding {
    /// What is made.
    public struct Options: Sendable {
        /// The types of the decoder's weights.
        public var types: WeightTypes
        /// How much image positions count beside text positions, all together.
        public var imageWeight: Float
        /// What part of its own the moment of each input grows by.
        public var damping: Double
        /// What part of the change that comes of earlier rounding the weights make up for, 0 to 1.
        public var correction: Float
        /// How often all levels are gone over again once they are rounded.
        public var refinements: Int
        /// Whether GGUF files in the folder, or layers of another run, are replaced.
        public var replace: Bool

        /// - Parameter types: of the decoder's weights.
        public init(
            types: WeightTypes, imageWeight: Float = 1, damping: Double = 1,
            correction: Float = 0.5, refinements: Int = 2, replace: Bool = false
        ) {
            (self.types, self.imageWeight) = (types, imageWeight)
            (self.damping, self.correction) = (damping, correction)
            (self.refinements, self.replace) = (refinements, replace)
        }
    }

    /// A prompt on its way through the layers.
    struct Prompt {
        /// [tokens, hidden]: what the layers so far put out.
        let stream: FloatBuffer
        /// [tokens, heads x head dim]: what the layer's attention looked up.
        let found: FloatBuffer
        /// The stream of the model that is not rounded, unless nothing is made up for.
        let exact: FloatBuffer?
        /// Which positions hold image tokens.
        let isImage: [Bool]

        /// `exact` as rows.
        var exactRows: Rows? { exact.map(rows) }

        /// Bytes of all of these.
        var bytes: Int { (stream.count + found.count + (exact?.count ?? 0)) * 4 }

        func rows(_ buffer: FloatBuffer) -> Rows {
            let count = isImage.count
            return Rows(buffer.pointer, count: count, width: buffer.count / count)
        }
    }

    let model: any VisionLanguageModel
    let options: Options
    let folder: String
    /// Identifies what is rounded and how: layers of another run are not taken up.
    let key: String
    /// Identifies the prompts that were taken in: nor are those of a run that had others, because
    /// pictures were not there, say.
    private(set) var taken = StableHash()
    private(set) var prompts: [Prompt] = []
    private let lock: FolderLock
    /// Of the model that is not rounded, beside the model's own of the one that is.
    let exactWorkspace: Workspace
    /// Layers that were taken up: products read them where they lie.
    var layerFiles: [Int: GGUFFile] = [:]
    var decoder: LlamaDecoder { model.backend.decoder }
    /// The type of each of the language file's tensors.
    let types: [String: GGUFTensorType]

    /// Rounding a model's weights into a folder.
    ///
    /// - Parameter source: identifies the prompts.
    /// - Throws: `InputError` if the model's weights are rounded already, or the folder holds models.
    public init(
        _ model: any VisionLanguageModel, to folder: String, prompts source: String,
        options: Options
    ) throws {
        (self.model, self.options, self.folder) = (model, options, folder)
        exactWorkspace = Workspace(activations: model.backend.workspace.activations)
        let files = model.files
        let rows = files.table.rows(.language)
        for row in rows where row.kind == .matrix {
            guard let type = files.language[row.name]?.type, type.blockElements == 1 else {
                throw InputError(
                    .badType, file: files.language.path, item: "tensor '\(row.name)'",
                    expected: "a model of F32, F16 or BF16 weights to round",
                    found: files.language[row.name]?.type.name ?? "none")
            }
        }
        try options.types.check(rows, folder: folder)
        let hasHead = files.has("output.weight"), layers = model.backend.decoder.layers.count
        let types = Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let type = options.types.type(of: row, layers: layers, hasHead: hasHead)
                return (row.name, row.kind == .plain ? .f32 : type.storable(cols: row.cols))
            })
        self.types = types
        let products = model.backend.decoder.layers.flatMap(\.products).compactMap(\.name)
        guard products.contains(where: { types[$0]?.kernelType.map(RoundedMatrix.takes) ?? false })
        else {
            throw InputError(
                .badType, file: folder, item: "type '\(options.types.name)'",
                expected: "some of the decoder's weights in iq4_nl, q4_0, q5_0 or q8_0",
                found: "none")
        }
        let names = types.map { "\($0) \($1.name)" }.sorted().joined(separator: ",")
        var hash = StableHash()
        hash.add(names.utf8)
        hash.add(source.utf8)
        // The number changes with what the same options make.
        key =
            "3 \(model.fingerprint) \(options.imageWeight) \(options.damping) "
            + "\(options.correction) \(options.refinements) " + String(hash.value, radix: 16)
        // What is in it is looked at once nobody else writes to it.
        let isMade = try Converter.makeFolder(folder, replace: true)
        lock = try FolderLock(folder)
        for path in [languagePath, visionPath] { try InputLedger.check(output: path) }
        // What a run left that was ended while it gave its files their names is its own.
        let isBegun = try keptFile(0) != nil
        _ = try Converter.makeFolder(folder, replace: options.replace || isBegun)
        do {
            try requireStorable()
        } catch {
            if isMade { rmdir(folder) }
            throw error
        }
    }

    /// Takes a prompt in.
    ///
    /// - Throws: `InputError` if the model cannot take it.
    public func add(image: RGBImage, prompt: String) throws {
        for number in [image.width, image.height] { taken.add(littleEndian: number) }
        taken.add(image.pixels)
        taken.add(prompt.utf8)
        let input = try model.prepare(image: image, prompt: prompt)
        let features = try input.imageFeatures(observation: nil)
        let embedded = try model.backend.embedded(input, features: features)
        try model.requireFinite(features, "the picture's features")
        func copy() -> FloatBuffer {
            let stream = FloatBuffer(count: embedded.size)
            stream.pointer.update(from: embedded.data, count: embedded.size)
            return stream
        }
        let width = decoder.layers.first?.attention.output.inputs ?? 0
        prompts.append(
            Prompt(
                stream: copy(), found: FloatBuffer(count: embedded.count * width),
                exact: corrects ? copy() : nil,
                isImage: model.imagePositions(input)))
    }

    /// Positions of all prompts.
    public var positions: Int { prompts.reduce(0) { $0 + $1.isImage.count } }

    /// Layers to round.
    public var layers: Int { decoder.layers.count }

    /// Bytes that the run takes at most, mapped files left out.
    public var memory: Int {
        guard let layer = decoder.layers.first else { return 0 }
        let products = layer.products, longest = prompts.map(\.isImage.count).max() ?? 0
        let kept = prompts.reduce(0) { $0 + $1.bytes }
        // Queries, keys, values, norms and what is added, and a chunk of the MLP.
        let hidden = layer.mlp.gate.inputs, inner = min(longest, GatedFeedForward.mostAtOnce)
        let pass = (5 * longest * hidden + 2 * inner * layer.mlp.gate.outputs) * 4
        let most = products.map { product in
            let (inputs, outputs) = (product.inputs, product.outputs)
            var gathering = SecondMoments.bytes(inputs: inputs) + pass
            let splitting = SecondMoments.splittingBytes(inputs: inputs)
            let rounding =
                inputs * (2 * inputs + 2 * outputs) * 4
                + SplitMoments.carryingBytes(inputs: inputs, rows: outputs)
            guard corrects else { return max(gathering, splitting, rounding) }
            gathering += InputChange.scratch(inputs: inputs, outputs: outputs) + pass
            return InputChange.bytes(inputs: inputs, outputs: outputs)
                + max(gathering, splitting, rounding)
        }
        let rounded = products.reduce(0) {
            $0 + csimd_row_bytes(type(of: $1) ?? CSIMD_F32, $1.inputs) * $1.outputs
        }
        return kept + (most.max() ?? 0) + rounded
    }

    /// The type that a product is rounded to.
    func type(of product: Linear) -> csimd_type? { product.name.flatMap { types[$0]?.kernelType } }

    /// Whether what earlier rounding changed is made up for.
    var corrects: Bool { options.correction > 0 }

    /// How much a position counts: text and image positions together, however many there are of each.
    func weight() -> (Bool) -> Float {
        let images = prompts.reduce(0) { $0 + $1.isImage.count { $0 } }
        let texts = positions - images
        let image = images > 0 ? options.imageWeight / Float(images) : 0
        let text = texts > 0 ? 1 / Float(texts) : 0
        return { $0 ? image : text }
    }

    /// Rounds.
    ///
    /// - Parameter progress: called when a layer is done, with their number; what it throws ends the
    ///   run, which can be gone on with.
    /// - Returns: the paths of the files.
    public func run(progress: (Int) throws -> Void) throws -> [String] {
        guard !prompts.isEmpty else {
            throw InputError(
                .badInput, file: folder, expected: "prompts to round weights by", found: "none")
        }
        for index in decoder.layers.indices {
            if let kept = try kept(index) {
                try forward(index, rounded: kept)
            } else {
                try round(index)
            }
            try progress(index + 1)
        }
        let made = try write()
        // The first last: as long as it is there, the same command takes the rest up.
        for index in decoder.layers.indices.reversed() { unlink(part(index)) }
        return made
    }
}

extension LlamaDecoder.Layer {
    /// The products, in the order of their names in `WeightPart`.
    var products: [Linear] {
        [attention.query, attention.key, attention.value, attention.output]
            + [mlp.gate, mlp.up, mlp.down]
    }

    /// The layer with other weights where there are some of a product's name.
    func with(_ weights: [String: csimd_matrix]) -> LlamaDecoder.Layer {
        func linear(_ old: Linear) -> Linear {
            guard let name = old.name, let matrix = weights[name] else { return old }
            return Linear(name: name, matrix: matrix, bias: old.bias)
        }
        return LlamaDecoder.Layer(
            attentionNorm: attentionNorm,
            attention: Attention(
                query: linear(attention.query), key: linear(attention.key),
                value: linear(attention.value), output: linear(attention.output),
                heads: attention.heads, kvHeads: attention.kvHeads),
            mlpNorm: mlpNorm,
            mlp: GatedFeedForward(
                gate: linear(mlp.gate), up: linear(mlp.up), down: linear(mlp.down)))
    }
}
