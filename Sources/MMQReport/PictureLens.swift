import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import MMQStudy
import MMQText

/// The lens over one picture, packed for a page: what every layer would say at every position.
///
/// The words are stored once; a place in `ids` is two bytes (four where there are more words than
/// that), probabilities and entropies are 16-bit fractions. All little-endian.
public struct PictureLens: Sendable, Codable {
    /// The greatest size of the packed numbers of one picture, in bytes. LLaVA-Next's largest
    /// picture in a 7B model (2,900 positions × 32 layers) keeps ten tokens.
    public static let defaultLimit = 4 << 20

    /// The picture's or the lens file's name.
    public let name: String
    /// The prompt.
    public let prompt: String
    /// Fingerprint of the model; nil where unknown.
    public let model: String?
    /// The layers that are kept, ascending; the last one always is.
    public let layers: [Int]
    /// How many layers there were.
    public let layersGiven: Int
    /// How many positions.
    public let positions: Int
    /// Tokens kept per layer and position.
    public let top: Int
    /// Tokens that there were.
    public let topGiven: Int
    /// Runs of image positions: first and count.
    public let imageRuns: [[Int]]
    /// The words that occur.
    public let words: [String]
    /// For each position the place of its token in `words`; -1 for image positions.
    public let tokens: [Int]
    /// Bytes of an entry of `ids`: 2 or 4.
    public let idBytes: Int
    /// Places in `words`, [layers, positions, top]; all ones where there is none.
    public let ids: Data
    /// Probabilities × `scale`, uint16 [layers, positions, top].
    public let probabilities: Data
    /// Entropies / `entropyLimit` × `scale`, uint16 [layers, positions].
    public let entropies: Data
    /// What stands for 1; 65535 stands for no number.
    public let scale: Int
    /// The greatest entropy that can be told.
    public let entropyLimit: Double
    /// How image positions lie in the picture; empty where they do not or it is not known.
    public let grids: [PictureGrid]
    /// The picture.
    public let picture: EmbeddedPicture?

    /// Packs numbers.
    ///
    /// - Parameters:
    ///   - limit: the greatest size in bytes; tokens, then layers, are left out to stay within.
    init(
        name: String, prompt: String, model: String?, values: LensValues, top wanted: Int,
        limit: Int, word: (Int32) -> String, grids: [PictureGrid] = [],
        picture: EmbeddedPicture? = nil
    ) {
        self.name = name
        self.prompt = prompt
        self.model = model
        self.grids = grids
        self.picture = picture
        layersGiven = values.layers
        topGiven = values.top
        positions = values.positions
        scale = 65534
        imageRuns = Self.runs(values.isImage)

        let (layers, top) = Self.fitting(
            layers: values.layers, positions: values.positions,
            top: max(1, min(wanted, values.top)), limit: limit)
        self.layers = layers
        self.top = top
        var words: [String] = []
        var places: [Int32: Int] = [:]
        func place(_ id: Int32) -> Int {
            if let place = places[id] { return place }
            places[id] = words.count
            words.append(word(id))
            return words.count - 1
        }
        tokens = zip(values.inputIDs, values.isImage).map { $1 ? -1 : place($0) }
        var ids: [UInt32] = []
        var probabilities: [UInt16] = []
        var entropies: [UInt16] = []
        let limit = Double(values.entropies.lazy.filter(\.isFinite).max() ?? 0)
        entropyLimit = limit > 0 ? limit : 1
        for layer in layers {
            for row in layer * values.positions..<(layer + 1) * values.positions {
                for i in row * values.top..<row * values.top + top {
                    let id = values.topIDs[i]
                    ids.append(id < 0 ? .max : UInt32(place(id)))
                    probabilities.append(Self.fraction(Double(values.topProbabilities[i])))
                }
                entropies.append(Self.fraction(Double(values.entropies[row]) / entropyLimit))
            }
        }
        self.words = words
        idBytes = words.count < Int(UInt16.max) ? 2 : 4
        self.ids =
            idBytes == 2 ? Self.data(ids.map { UInt16(truncatingIfNeeded: $0) }) : Self.data(ids)
        self.probabilities = Self.data(probabilities)
        self.entropies = Self.data(entropies)
    }

    /// Which layers and how many tokens stay within `limit` bytes: fewer tokens first, then every
    /// second, third, ... layer, the last one always.
    static func fitting(layers: Int, positions: Int, top: Int, limit: Int) -> ([Int], Int) {
        func bytes(_ layers: Int, _ top: Int) -> Int { layers * positions * (2 + 4 * top) }
        var top = top
        while top > 1, bytes(layers, top) > limit { top -= 1 }
        var step = 1
        func kept() -> [Int] {
            stride(from: layers - 1, through: 0, by: -step).reversed()
        }
        while step < layers, bytes(kept().count, top) > limit { step += 1 }
        return (kept(), top)
    }

    private static func fraction(_ value: Double) -> UInt16 {
        value.isFinite ? UInt16((min(1, max(0, value)) * 65534).rounded()) : .max
    }

    private static func data<Number: FixedWidthInteger>(_ numbers: [Number]) -> Data {
        numbers.map(\.littleEndian).withUnsafeBytes { Data($0) }
    }

    private static func runs(_ isImage: [Bool]) -> [[Int]] {
        var runs: [[Int]] = []
        for (position, image) in isImage.enumerated() where image {
            if let last = runs.last, last[0] + last[1] == position {
                runs[runs.count - 1][1] += 1
            } else {
                runs.append([position, 1])
            }
        }
        return runs
    }
}

/// The numbers of a lens, wherever they come from; shapes as `LensReading` has them.
struct LensValues {
    var layers: Int
    var top: Int
    var inputIDs: [Int32]
    var isImage: [Bool]
    var topIDs: [Int32]
    var topProbabilities: [Float]
    var entropies: [Float]
    var positions: Int { inputIDs.count }

    init(_ reading: LensReading) {
        layers = reading.layers
        top = reading.top
        inputIDs = reading.inputIDs
        isImage = reading.isImage
        topIDs = reading.topIDs
        topProbabilities = reading.topProbabilities
        entropies = reading.entropies
    }
}

extension PictureLens {
    /// Looks at a picture with a model.
    ///
    /// - Parameters:
    ///   - path: the picture, JPEG or PNG.
    ///   - prompt: goes to the tokenizer as it is.
    ///   - mask: neurons that are off.
    ///   - top: tokens to keep per layer and position.
    ///   - limit: the greatest size of the packed numbers in bytes.
    public init(
        path: String, prompt: String, model: any VisionLanguageModel, mask: NeuronMask? = nil,
        options: LensOptions = LensOptions(), limit: Int = defaultLimit
    ) throws {
        let picture = try EmbeddedPicture.read(path)
        let reading = try model.lens(
            image: picture.image, prompt: prompt, mask: mask, options: options)
        self.init(
            reading, of: picture.image, prompt: prompt, model: model,
            name: ReportDocument.name(path), limit: limit, picture: picture.embedded)
    }

    /// Packs what a lens saw.
    ///
    /// - Parameters:
    ///   - reading: what a model's lens saw.
    ///   - image: the picture that it looked at.
    ///   - prompt: the prompt.
    ///   - model: the model.
    ///   - name: what the picture is called.
    ///   - limit: the greatest size of the packed numbers in bytes.
    ///   - picture: the picture for a page, if it is to carry it.
    public init(
        _ reading: LensReading, of image: RGBImage, prompt: String,
        model: any VisionLanguageModel, name: String, limit: Int = defaultLimit,
        picture: EmbeddedPicture? = nil
    ) {
        let document = LensDocument(reading, tokenizer: model.tokenizer, prompt: prompt)
        self.init(
            name: name, prompt: prompt, model: model.fingerprint, values: LensValues(reading),
            top: reading.top, limit: limit, word: document.word,
            grids: model.pictureGrids(
                width: image.width, height: image.height, isImage: reading.isImage),
            picture: picture)
    }

    /// Reads what `mmq logit-lens --output` wrote. Such a file does not say where its image positions
    /// lie, and has no picture.
    ///
    /// - Throws: `InputError` or `InputError`, `.badInput` naming the key.
    public init(file: String, top: Int = 10, limit: Int = defaultLimit) throws {
        let json = try JSONValue(
            parsing: readSmallFile(file, limit: 512 << 20), file: file)
        let reader = LensFileReader(json: json, file: file)
        let values = try reader.values()
        let words = try reader.words()
        let part = try json["part"] == nil ? LayerPart.block.rawValue : reader.text("part")
        let what = part == LayerPart.block.rawValue ? "" : " (\(part) output alone)"
        self.init(
            name: ReportDocument.name(file) + what, prompt: try reader.text("prompt"), model: nil,
            values: values, top: top, limit: limit, word: { words[$0] ?? "#\($0)" })
    }
}

extension PictureLens {
    /// What a kept layer would say at a position, unpacked.
    ///
    /// - Parameters:
    ///   - place: the layer's place in `layers`.
    ///   - position: the position.
    /// - Returns: the entropy (natural logarithm; nil where it was no number) and the most probable
    ///   words with their probabilities.
    public func reading(
        place: Int, position: Int
    ) -> (entropy: Double?, words: [(word: String, probability: Double?)]) {
        func number(_ data: Data, _ i: Int, _ bytes: Int) -> Int {
            (0..<bytes).reduce(0) { $0 | Int(data[data.startIndex + i * bytes + $1]) << (8 * $1) }
        }
        func share(_ data: Data, _ i: Int) -> Double? {
            let value = number(data, i, 2)
            return value <= scale ? Double(value) / Double(scale) : nil
        }
        let row = place * positions + position
        let found = (row * top..<(row + 1) * top).compactMap { i -> (String, Double?)? in
            let id = number(ids, i, idBytes)
            return id < words.count ? (words[id], share(probabilities, i)) : nil
        }
        return (share(entropies, row).map { $0 * entropyLimit }, found)
    }

    /// What a page's script needs; the picture stands in the page already.
    struct Packed: Encodable {
        let layers: [Int]
        let positions: Int
        let top: Int
        let imageRuns: [[Int]]
        let words: [String]
        let tokens: [Int]
        let idBytes: Int
        let ids: Data
        let probabilities: Data
        let entropies: Data
        let scale: Int
        let entropyLimit: Double
        let grids: [PictureGrid]
    }

    /// The numbers as the report's script takes them; `.null` where they cannot be written.
    public var json: JSONValue {
        guard let data = try? JSONEncoder().encode(packed),
            let json = try? JSONValue(parsing: [UInt8](data), file: name)
        else { return .null }
        return json
    }

    var packed: Packed {
        Packed(
            layers: layers, positions: positions, top: top, imageRuns: imageRuns, words: words,
            tokens: tokens, idBytes: idBytes, ids: ids, probabilities: probabilities,
            entropies: entropies, scale: scale, entropyLimit: entropyLimit, grids: grids)
    }
}
