import Foundation
import MMQBase
import MMQFormats
import MMQModels

/// What the files of `mmq activations` are called, and the columns of an index.
enum ActivationLayout {
    /// What a folder was begun with.
    static let manifest = "activations.json"
    /// Where a domain stands.
    static let progress = "progress.json"
    static let columns = [
        "sample", "position", "image", "tile", "row", "column", "token", "file", "file_row",
    ]
    /// A row of an index has hardly more bytes.
    static let indexRow = 64

    static func array(_ site: ActivationSite, of module: String, _ number: Int) -> String {
        "\(module).\(site.layer)-\(digits(number)).safetensors"
    }

    static func index(of module: String, _ number: Int) -> String {
        "\(module)-\(digits(number)).csv"
    }

    private static func digits(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
}

/// Where a domain stands: `progress.json`, written anew at every commit when everything up to there
/// is durable.
struct ActivationProgress: Equatable {
    /// What there is of a module.
    struct Held: Equatable {
        /// Rows over all files.
        var rows = 0
        /// Bytes of the index that is under way; 0 where the next row begins one.
        var indexBytes = 0
    }

    /// The annotations.
    var bench: String
    /// Up to which sample.
    var cursor = RunCursor()
    /// Why the run ended that all files are whole of; nil while one is under way.
    var outcome: RunOutcome?
    /// By module.
    var held: [String: Held] = [:]

    /// Nothing yet of these modules.
    init(bench: String, modules: some Sequence<String>) {
        self.bench = bench
        for name in modules { held[name] = Held() }
    }

    /// - Parameter rowsPerFile: of each module.
    /// - Throws: `InputError`, `.badValue` naming a key that says what no run writes.
    init(json: JSONValue, rowsPerFile: [String: Int], file: String) throws {
        func fault(_ key: String, _ expected: String) -> InputError {
            InputError(
                .badValue, file: file, item: "key '\(key)'", expected: expected,
                found: json[key]?.kind ?? "none")
        }
        func number(_ key: String, _ value: JSONValue?, upTo limit: Int = .max >> 20) throws -> Int
        {
            guard let number = value?.integer, (0...limit).contains(number) else {
                throw fault(key, "an integer of 0 or more")
            }
            return number
        }
        guard let bench = json["bench"]?.text else { throw fault("bench", "a text") }
        self.bench = bench
        cursor.position = try number("position", json["position"])
        cursor.samples = try number("samples", json["samples"], upTo: cursor.position)
        cursor.skipped = try number("skipped", json["skipped"], upTo: cursor.position)
        cursor.missingFrames = try number("missing_frames", json["missing_frames"])
        guard let missing = json["missing"]?.array else { throw fault("missing", "a list") }
        cursor.missing = try missing.map { try number("missing", $0, upTo: cursor.position) }
        guard zip(cursor.missing, cursor.missing.dropFirst()).allSatisfy(<) else {
            throw fault("missing", "ascending numbers")
        }
        if let word = json.present("outcome") {
            outcome = word.text.flatMap(RunOutcome.init)
            guard let outcome, outcome != .interrupted else {
                throw fault("outcome", "reached, exhausted or null")
            }
        }
        guard let modules = json["modules"]?.members else { throw fault("modules", "an object") }
        for (name, value) in modules {
            held[name] = Held(
                rows: try number("modules", value["rows"]),
                indexBytes: try number("modules", value["index_bytes"]))
        }
        guard Set(held.keys) == Set(rowsPerFile.keys),
            held.allSatisfy({ ($1.rows % (rowsPerFile[$0] ?? 1) == 0) == ($1.indexBytes == 0) })
        else { throw fault("modules", "rows and bytes that go together") }
    }

    var json: JSONValue {
        .object(
            JSONObject([
                ("bench", .string(bench)),
                ("position", .integer(cursor.position)),
                ("samples", .integer(cursor.samples)),
                ("skipped", .integer(cursor.skipped)),
                ("missing_frames", .integer(cursor.missingFrames)),
                ("missing", .array(cursor.missing.map(JSONValue.integer))),
                ("outcome", outcome.map { .string($0.rawValue) } ?? .null),
                (
                    "modules",
                    .object(
                        JSONObject(
                            held.sorted { $0.key < $1.key }.map { name, held in
                                (
                                    name,
                                    .object(
                                        JSONObject([
                                            ("rows", .integer(held.rows)),
                                            ("index_bytes", .integer(held.indexBytes)),
                                        ]))
                                )
                            }))
                ),
            ]))
    }
}

/// The folder of `mmq activations`: what it was begun with, one process's at a time.
final class ActivationFolder {
    let path: String
    private let lock: FolderLock

    /// Opens a folder or makes one.
    ///
    /// - Parameter manifest: what this run is begun with, options by their keys.
    /// - Throws: `InputError`, `.mismatch` naming the option if the folder was begun with another
    ///   one, or holds other things.
    init(path: String, manifest: JSONObject) throws {
        self.path = path
        let file = path + "/" + ActivationLayout.manifest
        if !FileManager.default.fileExists(atPath: file),
            let names = try? FileManager.default.contentsOfDirectory(atPath: path),
            names.contains(where: { $0 != ActivationLayout.manifest + ".partial" })
        {
            throw InputError(
                .mismatch, file: path,
                expected: "a folder that activations has begun, or a new one",
                found: "one of other files")
        }
        try makeFolder(path)
        lock = try FolderLock(path)
        if FileManager.default.fileExists(atPath: file) {
            try Self.check(JSONValue(file: file), manifest, file: file)
        } else {
            try OutputFile.write(
                Array((JSONValue.object(manifest).jsonLine + "\n").utf8), to: file)
        }
    }

    private static func check(_ begun: JSONValue, _ wanted: JSONObject, file: String) throws {
        for (key, value) in wanted.members where begun[key] != value {
            let option =
                [
                    "version": "version", "model": "model", "sites": "--sites, --neurons or --set",
                    "modules": "--file-size",
                ][key] ?? "--" + key.replacingOccurrences(of: "_", with: "-")
            func word(_ value: JSONValue?) -> String {
                guard let text = value?.text, text.utf8.count < 200 else { return "others" }
                return text
            }
            throw InputError(
                .mismatch, file: file, item: option,
                value.text == nil || begun[key]?.text == nil
                    ? "the folder was begun with others; write to another folder"
                    : "the folder was begun with \(word(begun[key])), not with \(word(value)); write "
                        + "to another folder")
        }
    }

    /// The folder of a domain, made if it is not there.
    func folder(of domain: Domain) throws -> String {
        let folder = "\(path)/\(domain.rawValue)/"
        try makeFolder(folder)
        return folder
    }

    /// Where a domain stands; nil if nothing is there.
    ///
    /// - Parameter rowsPerFile: of each module.
    func progress(of domain: Domain, rowsPerFile: [String: Int]) throws -> ActivationProgress? {
        let file = "\(path)/\(domain.rawValue)/\(ActivationLayout.progress)"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        let progress = try ActivationProgress(
            json: JSONValue(file: file), rowsPerFile: rowsPerFile, file: file)
        InputLedger.goOn(with: file)
        return progress
    }

    /// Stores where a domain stands.
    func store(_ progress: ActivationProgress, of domain: Domain) throws {
        try OutputFile.write(
            Array((progress.json.jsonLine + "\n").utf8),
            to: folder(of: domain) + ActivationLayout.progress)
    }
}
