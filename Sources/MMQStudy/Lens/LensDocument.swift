import Foundation
import MMQBase
import MMQFormats
import MMQModels
import MMQText

/// A lens over one picture as JSON.
///
///     {"prompt", "part": "block", "attention" or "mlp", "layers", "positions", "top",
///      "input_ids": [positions], "is_image": [positions],
///      "top_ids": [layers][positions][top], "top_probabilities": the same shape,
///      "entropies": [layers][positions], "divergences": [layers][positions],
///      "words": {"id": text}}
///
/// Arrays rather than an object per token: a large picture has a million entries.
public struct LensDocument {
    private let reading: LensReading
    private let tokenizer: SentencePieceTokenizer
    private let prompt: String

    /// The document of a reading.
    public init(_ reading: LensReading, tokenizer: SentencePieceTokenizer, prompt: String) {
        self.reading = reading
        self.tokenizer = tokenizer
        self.prompt = prompt
    }

    /// A token as the vocabulary spells it, `▁` standing for a space; `#id` for rows without one.
    public func word(_ id: Int32) -> String {
        guard let piece = tokenizer.piece(id), !piece.isEmpty else { return "#\(id)" }
        return String(decoding: piece, as: UTF8.self)
    }

    /// Every token that the reading names, and how the vocabulary spells it.
    public var words: [(id: Int32, text: String)] {
        Set(reading.topIDs).union(reading.inputIDs).filter { $0 >= 0 }.sorted()
            .map { ($0, word($0)) }
    }

    /// The bytes of the document, with a line feed at the end.
    public var json: [UInt8] {
        var text = "{\n"
        text += "\"prompt\": \(jsonString(prompt)),\n"
        text += "\"part\": \(jsonString(reading.part.rawValue)),\n"
        text += "\"layers\": \(reading.layers),\n"
        text += "\"positions\": \(reading.positions),\n"
        text += "\"top\": \(reading.top),\n"
        text += "\"input_ids\": [\(reading.inputIDs.map(String.init).joined(separator: ","))],\n"
        let image = reading.isImage.map { $0 ? "true" : "false" }
        text += "\"is_image\": [\(image.joined(separator: ","))],\n"
        write("top_ids", reading.topIDs.map(String.init), depth: 2, to: &text)
        write("top_probabilities", reading.topProbabilities.map(number), depth: 2, to: &text)
        write("entropies", reading.entropies.map(number), depth: 1, to: &text)
        write("divergences", reading.divergences.map(number), depth: 1, to: &text)
        let words = words.map { "\"\($0.id)\": \(jsonString($0.text))" }
        text += "\"words\": {\(words.joined(separator: ", "))}\n}\n"
        return Array(text.utf8)
    }

    /// JSON has no NaN and no infinity.
    private func number(_ value: Float) -> String { value.isFinite ? "\(value)" : "null" }

    /// `values` [layers, positions (, top)] as nested lists, a layer a line.
    private func write(_ key: String, _ values: [String], depth: Int, to text: inout String) {
        text += "\"\(key)\": [\n"
        let width = reading.positions * (depth == 2 ? reading.top : 1)
        for layer in 0..<reading.layers {
            let row = values[layer * width..<(layer + 1) * width]
            if depth == 1 {
                text += "[" + row.joined(separator: ",") + "]"
            } else {
                let lists = stride(from: row.startIndex, to: row.endIndex, by: reading.top).map {
                    "[" + row[$0..<$0 + reading.top].joined(separator: ",") + "]"
                }
                text += "[" + lists.joined(separator: ",") + "]"
            }
            text += layer < reading.layers - 1 ? ",\n" : "\n"
        }
        text += "],\n"
    }
}
