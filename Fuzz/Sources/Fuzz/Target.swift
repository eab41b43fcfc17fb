import Foundation
import MMQBase
import MMQModels

/// An input to begin with.
struct Seed {
    let name: String
    let bytes: [UInt8]

    init(_ name: String, _ bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    init(_ name: String, text: String) { self.init(name, Array(text.utf8)) }
}

/// A parser and what is done with what it read.
struct Target {
    let seeds: () throws -> [Seed]
    let run: ([UInt8]) throws -> Void
}

/// Whether an input goes the long way, as one of `share` does: told by all of its bytes, so that what
/// a mutation makes of it goes the short way mostly, wherever the corpus grows.
func takesLongWay(_ input: [UInt8], share: Int) -> Bool {
    input.reduce(0) { ($0 &+ Int($1)) % share } == 0
}

/// Every target by its name.
enum Targets {
    static var all: [String: () throws -> Target] {
        [
            "picture": { try picture() },
            "safetensors": { try safetensors() },
            "gguf": { try gguf() },
            "model": { try model() },
            "weights": { try weights() },
            "judge": { try judge() },
            "template": { template() },
            "http": { try http() },
            "session": { try session() },
            "json": { json() },
            "tokenizer-json": { try languageTokenizer(["tokenizer.json"]) },
            "tokenizer-config": {
                try languageTokenizer([
                    "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json",
                ])
            },
            "sentencepiece": { try languageTokenizer(["tokenizer.model"]) },
            "wordpiece": { try wordPieces() },
            "unigram-json": { try unigram() },
            "config": { try config() },
            "processor": { processor() },
            "csv": { try csv() },
            "jsonl": { try jsonLines() },
            "bench-json": { try benchJSON() },
            "mask": { mask() },
            "mask-list": { try maskList() },
            "importance": { try importance() },
            "activations": { try activations() },
            "answers": { try answers() },
            "lens": { try lens() },
            "import": { try importFiles() },
            "study": { try study() },
            "counts": { try counts() },
            "merge": { try merge() },
        ]
    }

    /// Goldens that are small enough to be mutated.
    static let largestSeed = 100_000
}

/// The repository's test data.
enum Golden {
    static let folder: String = {
        let file = URL(fileURLWithPath: #filePath)  // Fuzz/Sources/Fuzz/Target.swift
        return (0..<4).reduce(file) { url, _ in url.deletingLastPathComponent() }
            .appendingPathComponent("Tests/Golden").path
    }()

    static func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)))
    }

    /// A golden checkpoint, converted anew: the model's folder.
    static func converted(_ name: String, _ type: StoredType) throws -> String {
        let model = Scratch.path(
            "model-\(type)-" + name.replacingOccurrences(of: "/", with: "-"))
        try Converter(
            checkpoint: folder + "/" + name + "/checkpoint",
            options: ConversionOptions(type: type, visionType: type, replace: true)
        ).convert(to: model)
        return model
    }

    /// The files below a folder whose paths end so, sorted.
    static func files(_ folder: String, ending: String...) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: self.folder + "/" + folder).sorted()
            .filter { path in ending.contains { path.hasSuffix($0) } }
            .map { folder + "/" + $0 }
    }
}

/// Files of this process, in memory where the system has such a folder.
enum Scratch {
    /// MMQ_FUZZ_SCRATCH, or a folder made here.
    static let folder: String = {
        let variables = ProcessInfo.processInfo.environment
        let memory = FileManager.default.fileExists(atPath: "/dev/shm")
        let folder =
            variables["MMQ_FUZZ_SCRATCH"]
            ?? (memory ? "/dev/shm/" : NSTemporaryDirectory()) + "mmq-fuzz-\(getpid())"
        try? FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        return folder
    }()

    static func path(_ name: String) -> String { folder + "/" + name }

    /// A fresh folder.
    static func makeFolder(_ name: String) throws -> String {
        let folder = path(name)
        try? FileManager.default.removeItem(atPath: folder)
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        return folder
    }

    /// Puts bytes into a file, by few system calls: this happens thousands of times a second.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let done = rest.withUnsafeBytes {
                Foundation.write(descriptor, $0.baseAddress, $0.count)
            }
            guard done > 0 else { throw CocoaError(.fileWriteUnknown) }
            rest = rest.dropFirst(done)
        }
    }
}

/// Folders of files of which an input replaces one: its first byte says which, the rest is what the
/// file then holds.
final class FolderCases {
    struct Case {
        let folder: String
        let file: String
        let whole: [UInt8]
        let name: String
    }

    private(set) var cases: [Case] = []
    private var damaged: Case?

    /// Adds a copy of a golden folder, without what no reader of it needs.
    ///
    /// - Parameters:
    ///   - golden: below Tests/Golden.
    ///   - files: which of its files inputs replace, where they are there.
    func add(_ golden: String, files: [String]) throws {
        let folder = Scratch.path(golden.replacingOccurrences(of: "/", with: "-"))
        if !FileManager.default.fileExists(atPath: folder) {
            try FileManager.default.copyItem(
                atPath: Golden.folder + "/" + golden, toPath: folder)
        }
        try add(folder: folder, files: files)
    }

    /// Adds a folder that lies in the scratch folder.
    func add(folder: String, files: [String]) throws {
        for file in files {
            guard let data = FileManager.default.contents(atPath: folder + "/" + file) else {
                continue
            }
            let name = (folder as NSString).lastPathComponent + "-" + file
            cases.append(
                Case(
                    folder: folder, file: folder + "/" + file, whole: Array(data),
                    name: name.replacingOccurrences(of: "/", with: "-")))
        }
    }

    func seeds() -> [Seed] {
        cases.enumerated().filter { $0.element.whole.count <= Targets.largestSeed }
            .flatMap { number, held in
                // With both choices, where there are two.
                stride(from: number, to: min(256, 2 * cases.count), by: cases.count).map {
                    Seed("\($0)-" + held.name, [UInt8($0)] + held.whole)
                }
            }
    }

    /// Lays the input down and gives the folder that it went into.
    func place(_ input: [UInt8]) throws -> Case? {
        guard let first = input.first else { return nil }
        let chosen = cases[Int(first) % cases.count]
        if let damaged, damaged.file != chosen.file {
            try Scratch.write(damaged.whole, to: damaged.file)
        }
        damaged = chosen
        try Scratch.write(Array(input.dropFirst()), to: chosen.file)
        return chosen
    }

    /// A target that reads the folder; `choice` is what the first byte says beyond the file.
    func target(_ read: @escaping (_ chosen: Case, _ choice: Int) throws -> Void) -> Target {
        precondition(!cases.isEmpty && cases.count <= 128)
        return Target(seeds: { self.seeds() }) { [self] input in
            guard let chosen = try place(input), let first = input.first else { return }
            try read(chosen, Int(first) / cases.count)
        }
    }
}
