import MMQBase
import MMQFormats
import MMQStudy

/// Reads a `LensDocument` back.
struct LensFileReader {
    let json: JSONValue
    let file: String

    func error(_ key: String, _ problem: String) -> InputError {
        InputError(.badInput, file: file, item: key, problem)
    }

    func text(_ key: String) throws -> String {
        guard let text = json[key]?.text else { throw error(key, "expected a text") }
        return text
    }

    private func count(_ key: String) throws -> Int {
        guard let number = json[key]?.integer, (1...1_000_000).contains(number) else {
            throw error(key, "expected a number from 1 to 1000000")
        }
        return number
    }

    private func list(_ key: String, _ value: JSONValue?, _ count: Int) throws -> [JSONValue] {
        guard let list = value?.array, list.count == count else {
            throw error(key, "expected a list of \(count), found \(value?.kind ?? "nothing")")
        }
        return list
    }

    /// A number; JSON's null, which stands for what is not finite, gives NaN.
    private func number(_ key: String, _ value: JSONValue) throws -> Float {
        switch value {
        case .integer(let number): Float(number)
        case .number(let number): Float(number)
        case .null: .nan
        default: throw error(key, "expected a number, found \(value.kind)")
        }
    }

    private func id(_ key: String, _ value: JSONValue) throws -> Int32 {
        guard let id = value.integer.flatMap(Int32.init(exactly:)) else {
            throw error(key, "expected a token's number, found \(value.kind)")
        }
        return id
    }

    func values() throws -> LensValues {
        let layers = try count("layers")
        let positions = try count("positions")
        let top = try count("top")
        var values = LensValues(
            layers: layers, top: top,
            inputIDs: try list("input_ids", json["input_ids"], positions).map {
                try id("input_ids", $0)
            },
            isImage: try list("is_image", json["is_image"], positions).map {
                guard case .bool(let flag) = $0 else {
                    throw error("is_image", "expected true or false, found \($0.kind)")
                }
                return flag
            }, topIDs: [], topProbabilities: [], entropies: [])
        for layer in try list("top_ids", json["top_ids"], layers) {
            for row in try list("top_ids", layer, positions) {
                for value in try list("top_ids", row, top) {
                    values.topIDs.append(try id("top_ids", value))
                }
            }
        }
        let key = "top_probabilities"
        for layer in try list(key, json[key], layers) {
            for row in try list(key, layer, positions) {
                for value in try list(key, row, top) {
                    values.topProbabilities.append(try number(key, value))
                }
            }
        }
        for layer in try list("entropies", json["entropies"], layers) {
            for value in try list("entropies", layer, positions) {
                values.entropies.append(try number("entropies", value))
            }
        }
        return values
    }

    func words() throws -> [Int32: String] {
        guard case .object(let object) = json["words"] else {
            throw error("words", "expected an object")
        }
        var words: [Int32: String] = [:]
        for (key, value) in object.members {
            guard let id = Int32(key), let text = value.text else {
                throw error("words", "expected a text for the number of each token")
            }
            words[id] = text
        }
        return words
    }
}

extension LensValues {
    init(
        layers: Int, top: Int, inputIDs: [Int32], isImage: [Bool], topIDs: [Int32],
        topProbabilities: [Float], entropies: [Float]
    ) {
        self.layers = layers
        self.top = top
        self.inputIDs = inputIDs
        self.isImage = isImage
        self.topIDs = topIDs
        self.topProbabilities = topProbabilities
        self.entropies = entropies
    }
}
