import MMQBase
import MMQFormats
import MMQModels
import MMQStudy
import MMQText

/// What the logit lens saw of one request's prompt: arrays in a file of the session's folder, and
/// the words that their token ids stand for.
struct SessionLens {
    private let reading: LensReading
    private let document: LensDocument

    init(_ reading: LensReading, tokenizer: SentencePieceTokenizer) {
        self.reading = reading
        document = LensDocument(reading, tokenizer: tokenizer, prompt: "")
    }

    /// Writes the arrays; what the client is told.
    func write(in folder: SessionFolder) throws -> JSONObject {
        let rows = [reading.layers, reading.positions]
        let entries = rows + [reading.top]
        let (path, writer) = try folder.makeFile { path in
            (
                path,
                try SafetensorsWriter(
                    path: path,
                    tensors: [
                        .init(name: "top_ids", type: .i32, shape: entries),
                        .init(name: "top_probabilities", type: .f32, shape: entries),
                        .init(name: "entropies", type: .f32, shape: rows),
                        .init(name: "divergences", type: .f32, shape: rows),
                    ])
            )
        }
        do {
            try writer.write("top_ids", reading.topIDs)
            try writer.write("top_probabilities", reading.topProbabilities)
            try writer.write("entropies", reading.entropies)
            try writer.write("divergences", reading.divergences)
            try writer.commit(durably: false)
        } catch {
            writer.abandon()
            throw error
        }
        return JSONObject([
            ("part", .string(reading.part.rawValue)),
            ("file", .string(path)),
            ("layers", .integer(reading.layers)),
            ("positions", .integer(reading.positions)),
            ("top", .integer(reading.top)),
            (
                "words",
                .object(JSONObject(document.words.map { (String($0.id), .string($0.text)) }))
            ),
        ])
    }
}
