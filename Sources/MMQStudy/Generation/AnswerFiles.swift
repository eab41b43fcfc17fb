import Foundation
import MMQBase
import MMQFormats
import MMQModels

/// Answers as files, and back.
///
///     FOLDER/<model>/answers/<domain>/<setting>.jsonl; the setting of a named set has a folder more
///         {"index", "ground_truth", "answer", "position", "question", "attributes"} a line
///     FOLDER/<model>/answers/<domain>/<setting>.mask.json
///         what was done to neurons, in the form that --mask takes; not for `none`
///
/// A sample without an answer has an empty one and the reason under "problem".
public enum AnswerFiles {
    /// Writes the answers of one split.
    ///
    /// - Parameters:
    ///   - study: the study.
    ///   - folder: the model's folder; made, with what is above it, if there is something to write.
    ///   - split: the split of the answers.
    /// - Returns: the files that were written.
    @discardableResult
    public static func write(_ study: Study, to folder: String, split: String = "val") throws
        -> [String]
    {
        var written: [String] = []
        for set in try study.answerSets(split: split) {
            try check(set.setting, in: study)
            let setting = "\(folder)/answers/\(set.domain.rawValue)/\(set.setting)"
            try makeFolder(URL(fileURLWithPath: setting).deletingLastPathComponent().path)
            let answers = try study.answers(
                domain: set.domain, split: split, setting: set.setting)
            let text = try answers.map { try line($0) + "\n" }.joined()
            let file = setting + ".jsonl"
            try OutputFile.write(Array(text.utf8), to: file)
            written.append(file)
            if !set.mask.isEmpty {
                let file = setting + maskSuffix
                try OutputFile.write(Array(maskText(set.mask).utf8), to: file)
                written.append(file)
            }
        }
        return written
    }

    /// A setting is a file's name, or that of a folder and a file: a study from elsewhere names no other
    /// place.
    private static func check(_ setting: String, in study: Study) throws {
        let parts = setting.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, !parts.contains(where: { ["", ".", ".."].contains($0) }) else {
            throw study.damaged(
                AnswerSet.table, "no file can be called after the setting \(quoted(setting))")
        }
    }

    /// Whether a file lies where this layout has answers.
    static func isAnswerFile(_ path: String) -> Bool {
        let above = URL(fileURLWithPath: path).deletingLastPathComponent()
            .deletingLastPathComponent()
        return path.hasSuffix(".jsonl")
            && [above, above.deletingLastPathComponent()].contains {
                $0.lastPathComponent == "answers"
            }
    }

    /// Reads answers into a study. The folder that a file lies in names the domain, the file the
    /// setting.
    ///
    /// - Parameters:
    ///   - files: `.jsonl` files.
    ///   - study: a study with no answers of a run in these domains and settings.
    ///   - split: the split that the answers are of.
    public static func read(_ files: [String], into study: Study, split: String = "val") throws {
        for file in files {
            let url = URL(fileURLWithPath: file)
            var setting = url.deletingPathExtension().lastPathComponent
            var folder = url.deletingLastPathComponent().lastPathComponent
            let above = url.deletingLastPathComponent().deletingLastPathComponent()
            if Domain(rawValue: folder) == nil, Domain(rawValue: above.lastPathComponent) != nil {
                setting = folder + "/" + setting
                folder = above.lastPathComponent
            }
            guard let domain = Domain(rawValue: folder) else {
                let names = Domain.allCases.map(\.rawValue).joined(separator: ", ")
                throw InputError(
                    .badInput, file: file, "not in a folder called after a domain (\(names))")
            }
            if let held = try study.answerSet(domain: domain, split: split, setting: setting),
                held.bench != PassState.imported
            {
                throw InputError(
                    .mismatch, file: study.path, item: "\(domain.rawValue) \(setting)",
                    "holds answers of a run; import into another study")
            }
            let answers = try answers(file)
            let mask = url.deletingPathExtension().path + maskSuffix
            try study.replace(
                AnswerSet(
                    domain: domain, split: split, setting: setting, model: PassState.imported,
                    bench: PassState.imported, options: "{}",
                    mask: exists(mask) ? try masks(mask) : [:]),
                answers: answers)
        }
    }

    /// The answers of a JSONL file: `index`, `ground_truth` and `answer` in each line, the rest if
    /// it is there.
    ///
    /// - Throws: `InputError` with the line's number, `InputError` where a line is not JSON.
    public static func answers(_ file: String) throws -> [StoredAnswer] {
        let data = try readSmallFile(file, limit: 1 << 30)
        var answers: [StoredAnswer] = []
        var positions: Set<Int> = []
        var indices: Set<Int> = []
        for (number, bytes) in data.split(separator: UInt8(ascii: "\n")).enumerated() {
            func fault(_ key: String, _ problem: String) -> InputError {
                InputError(.badInput, file: file, item: key, "answer \(number + 1): \(problem)")
            }
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0d || $0 == 0x09 }) { continue }
            let line = try JSONValue(parsing: Array(bytes), file: file)
            guard let index = line["index"]?.integer else {
                throw fault("index", "expected an integer")
            }
            guard index >= 0, indices.insert(index).inserted else {
                throw fault("index", "\(index) is negative, or that of an answer before")
            }
            guard let truth = line["ground_truth"] else {
                throw fault("ground_truth", "not there")
            }
            // The official LLaVA-Next files have a list of one text.
            let list = line["answer"]?.array
            guard let text = (list?.count == 1 ? list?[0] : line["answer"])?.text else {
                throw fault("answer", "expected a text")
            }
            let position = line["position"]?.integer ?? number
            guard position >= 0, positions.insert(position).inserted else {
                throw fault("position", "negative, or the same as of an answer before")
            }
            var attributes: [String: String] = [:]
            if case .object(let object) = line["attributes"] {
                for (key, value) in object.members {
                    guard let value = value.text else {
                        throw fault("attributes", "expected texts")
                    }
                    attributes[key] = value
                }
            }
            let problem = line["problem"]?.text
            answers.append(
                StoredAnswer(
                    position: position, index: index, question: line["question"]?.text ?? "",
                    groundTruth: truth, attributes: attributes,
                    text: problem == nil ? text : nil, problem: problem))
        }
        return answers
    }

    private static let maskSuffix = ".mask.json"

    private static func line(_ answer: StoredAnswer) throws -> String {
        var object = JSONObject()
        object.set("index", .integer(answer.index))
        object.set("ground_truth", answer.groundTruth)
        object.set("answer", .string(answer.text ?? ""))
        if let problem = answer.problem { object.set("problem", .string(problem)) }
        object.set("position", .integer(answer.position))
        if !answer.question.isEmpty { object.set("question", .string(answer.question)) }
        if !answer.attributes.isEmpty {
            var attributes = JSONObject()
            for (key, value) in answer.attributes.sorted(by: { $0.key < $1.key }) {
                attributes.set(key, .string(value))
            }
            object.set("attributes", .object(attributes))
        }
        return JSONValue.object(object).jsonLine
    }

    private static func maskText(_ mask: [String: [LayerMask]]) -> String {
        let modules = mask.sorted { $0.key < $1.key }.map { name, layers in
            "  \(jsonString(name)): [" + layers.map(\.json).joined(separator: ", ") + "]"
        }
        return "{\n" + modules.joined(separator: ",\n") + "\n}\n"
    }

    private static func masks(_ file: String) throws -> [String: [LayerMask]] {
        guard case .object(let object) = try JSONValue(file: file) else {
            throw InputError(.badInput, file: file, "expected an object")
        }
        var mask: [String: [LayerMask]] = [:]
        for (name, layers) in object.members {
            guard let list = layers.array else {
                throw InputError(
                    .badInput, file: file, item: name, "expected a list of layers")
            }
            mask[name] = try list.enumerated().map { layer, value in
                try LayerMask(json: value) {
                    InputError(
                        .badInput, file: file, item: "\(name), layer \(layer)", expected: $0,
                        found: $1)
                }
            }
        }
        return mask
    }
}
