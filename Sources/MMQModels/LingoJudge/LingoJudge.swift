import CSIMD
import Foundation
import MMQBase
import MMQFormats
import MMQText

/// A judge's GGUF file, checked against its tensor table.
final class JudgeFile: Sendable {
    let file: GGUFFile
    let config: LingoJudgeConfig

    /// Opens `judge-<type>.gguf`: every tensor is there, none is left over, shapes and types are
    /// right.
    init(path: String) throws {
        file = try GGUFFile(path: path)
        let architecture = try file.metadata.string("mmq.architecture")
        guard architecture == LingoJudgeConfig.architecture else {
            throw InputError(
                .unsupported, file: path, item: "key 'mmq.architecture'",
                expected: "a judge ('\(LingoJudgeConfig.architecture)')",
                found: "'\(architecture)'")
        }
        config = try LingoJudgeConfig(file)
        try ModelFiles.check(file, TensorTable(config).rows)
    }

    func matrix(_ name: String) throws -> csimd_matrix {
        let view = try file.weight(name)
        return csimd_matrix(type: view.type, data: view.pointer, rows: view.rows, cols: view.cols)
    }

    func vector(_ name: String) throws -> UnsafePointer<Float> {
        // The check above saw to it that plain tensors are F32; GGUF aligns them.
        try file.weight(name).pointer.assumingMemoryBound(to: Float.self)
    }

    func linear(_ name: String) throws -> Linear {
        Linear(matrix: try matrix(name + ".weight"), bias: try vector(name + ".bias"))
    }

    func norm(_ name: String, epsilon: Float) throws -> Norm {
        .layer(
            weight: try vector(name + ".weight"), bias: try vector(name + ".bias"),
            epsilon: epsilon)
    }
}

/// Wayve's Lingo-Judge: says whether an answer about a driving scene means what the reference says.
///
/// One text goes in, `[CLS]\nQuestion: ...\nAnswer: ...\nStudent: ...`, one number comes out; above
/// 0 (a probability above one half) the answer counts as correct. The official evaluation takes the
/// greatest number over a question's references.
public final class LingoJudge: @unchecked Sendable {  // read-only after init
    /// The longest text in tokens, special ones included; what is beyond is cut off.
    public static let maximumTokens = 128

    /// The model's sizes.
    public let config: LingoJudgeConfig
    /// Its tokenizer.
    public let tokenizer: UnigramTokenizer
    private let file: JudgeFile
    private let encoder: DisentangledEncoder
    private let pooler: Linear
    private let classifier: Linear

    /// Opens a judge that `mmq convert` made.
    ///
    /// - Parameter path: the folder with the one `judge-<type>.gguf`, or that file.
    /// - Throws: `InputError` naming file and tensor or key.
    public static func open(_ path: String) throws -> LingoJudge {
        try LingoJudge(file: isFolder(path) == true ? ModelFiles.file(.judge, in: path) : path)
    }

    private init(file path: String) throws {
        file = try JudgeFile(path: path)
        config = file.config
        let tables = try UnigramMetadata.tables(file.file)
        guard tables.pieces.count <= config.vocabularySize else {
            throw InputError(
                .badValue, file: path, item: "tokenizer",
                expected: "at most \(config.vocabularySize) tokens",
                found: "\(tables.pieces.count)")
        }
        tokenizer = try InputError.about(file: path) {
            try UnigramTokenizer(tables: tables)
        }
        encoder = try DisentangledEncoder(
            file: file, config: config, maximumTokens: Self.maximumTokens)
        pooler = try file.linear("pooler")
        classifier = try file.linear("classifier")
    }

    /// The judge's number for an answer: above 0 means correct.
    ///
    /// - Parameters:
    ///   - question: as it was asked.
    ///   - reference: an answer known to be right.
    ///   - answer: the answer to judge.
    ///   - cleans: reference and answer are lower-cased and stripped, as the official evaluation
    ///     does before it asks the judge; false takes them as they are.
    /// - Throws: `InputError` if the number is none (weights that overflow).
    public func logit(
        question: String, reference: String, answer: String, cleans: Bool = true
    ) throws -> Float {
        try logit(
            ids: ids(question: question, reference: reference, answer: answer, cleans: cleans))
    }

    /// The ids of the judge's text.
    ///
    /// The text begins with a written `[CLS]`, before which the tokenizer puts its own: the judge
    /// was trained on both.
    public func ids(
        question: String, reference: String, answer: String, cleans: Bool = true
    ) -> [Int32] {
        func clean(_ text: String) -> String {
            cleans ? PythonText(text).lowered().stripped().string : text
        }
        return tokenizer.encode(
            "[CLS]\nQuestion: \(question)\nAnswer: \(clean(reference))\nStudent: \(clean(answer))",
            maximumLength: Self.maximumTokens)
    }

    /// The judge's number for ids of the vocabulary, at most `maximumTokens` of them.
    func logit(ids: [Int32], seen: (Rows) -> Void = { _ in }) throws -> Float {
        guard !ids.isEmpty, ids.count <= Self.maximumTokens,
            ids.allSatisfy({ $0 >= 0 && $0 < config.vocabularySize })
        else { throw InputError.prompt("1 to \(Self.maximumTokens) ids of the vocabulary") }
        let pass = Pass(Workspace(activations: .int8))
        let states = encoder.run(ids, pass, seen: seen)
        // The first token's state stands for the text.
        let pooled = pooler.apply(pass.operand(states[0..<1]), in: .delta)
        csimd_activate(CSIMD_GELU_ERF, pooled.data, 1, pooled.width, nil)
        let logit = classifier.apply(pass.operand(pooled), in: .gate).data[0]
        guard logit.isFinite else {
            throw InputError(
                .badValue, file: file.file.path, item: "logit", expected: "a number",
                found: "\(logit)")
        }
        return logit
    }
}
