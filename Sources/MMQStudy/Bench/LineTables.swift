import Foundation
import MMQBase
import MMQFormats

/// LingoQA in its prepared form: `ad/<split>/<split>.jsonl`, one line per row of the parquet file,
/// with `question`, `answer`, `images` (paths below `ad/<split>/`), `question_id`, `segment_id`.
struct DrivingTable: BenchTable {
    private let lines: LineFile
    private let order: [Int32]
    private let folder: String

    var files: [MappedFile] { [lines.file] }
    var count: Int { order.count }

    init(bench: String, split: String) throws {
        folder = "\(bench)/ad/\(split)"
        lines = try LineFile(
            path: "\(folder)/\(split).jsonl", parquet: "\(folder)/\(split).parquet", bench: bench)
        order = SampleOrder.pandas(count: lines.count)
    }

    /// Every question counts: the official code keeps repeated pictures here.
    func pictureKey(at place: Int) -> String? { nil }

    func pictures(at place: Int) throws -> [[String]] {
        try lines.record(Int(order[place])).texts("images").map { ["\(folder)/\($0)"] }
    }

    func content(at place: Int, isWhole: Bool) throws -> BenchContent {
        let record = try lines.record(Int(order[place]))
        return BenchContent(
            index: place, question: try record.text("question"),
            answer: .string(try record.text("answer")),
            attributes: record.attributes(["question_id", "segment_id"]),
            pictures: try pictures(at: place))
    }
}

/// DocVQA in its prepared form: `doc/<split>.jsonl`, one line per row of the parquet files, with
/// `question`, `answers`, `image` (a path below `doc/`, or null) and `name`, the data set's own name
/// of the page, by which repeated pages are told.
struct DocumentTable: BenchTable {
    private let lines: LineFile
    private let order: [Int32]
    private let folder: String

    var files: [MappedFile] { [lines.file] }
    var count: Int { order.count }

    init(bench: String, split: String) throws {
        folder = "\(bench)/doc"
        // The data set calls its second split `validation`.
        let official = split == "val" ? "validation" : split
        let names = [split, official]
        let paths = names.map { "\(bench)/doc/\($0).jsonl" }
        let path = paths.first { exists($0) } ?? paths[0]
        lines = try LineFile(
            path: path, parquet: Self.parquet(of: official, in: folder), bench: bench)
        order = SampleOrder.datasets(count: lines.count)
    }

    /// The first of a split's parquet files.
    private static func parquet(of split: String, in folder: String) -> String? {
        let found = FileManager.default.enumerator(atPath: folder)?.first { entry in
            guard let entry = entry as? String, entry.hasSuffix(".parquet") else { return false }
            let name = entry.split(separator: "/").last ?? ""
            return name.hasPrefix(split)
        }
        return (found as? String).map { "\(folder)/\($0)" }
    }

    func pictureKey(at place: Int) throws -> String? {
        try lines.record(Int(order[place])).text("name")
    }

    func pictures(at place: Int) throws -> [[String]] {
        let record = try lines.record(Int(order[place]))
        // A row without a picture in the data set is passed over there; here it counts as missing.
        let picture =
            try record.value["image"] == .null ? "(row without a picture)" : record.text("image")
        return [["\(folder)/\(picture)"]]
    }

    func content(at place: Int, isWhole: Bool) throws -> BenchContent {
        let record = try lines.record(Int(order[place]))
        let pictures = try pictures(at: place)
        guard let answers = record.value["answers"] else {
            throw record.error("answers", "not there")
        }
        var attributes = record.attributes(["question_id"])
        // Pages of one document share its name: `documents/xnbl0037_1.png` is page 1 of xnbl0037.
        if let name = record.value["name"]?.text?.split(separator: "/").last,
            let end = name.lastIndex(of: "_"),
            name[name.index(after: end)...].first?.isNumber == true
        {
            attributes["document"] = String(name[..<end])
        }
        return BenchContent(
            index: place, question: try record.text("question"), answer: answers,
            attributes: attributes, pictures: pictures)
    }
}

/// A file of JSON objects, one a line, read by line number.
struct LineFile {
    let file: MappedFile
    private let starts: [Int]
    private let last = LastRow<LineRecord>()

    var count: Int { starts.count }

    /// Opens the prepared form, or says how to make it if only parquet is there, which is looked for
    /// where the prepared form is not.
    init(path: String, parquet: @autoclosure () -> String?, bench: String) throws {
        if !exists(path), let parquet = parquet(), exists(parquet) {
            throw InputError(
                .badInput, file: parquet,
                "parquet has to be prepared first: run python3 tools/data prepare \(bench)")
        }
        file = try MappedFile(path: path)
        var starts: [Int] = []
        var start = 0
        let bytes = file.bytes
        while start < bytes.count {
            var end = start
            var blank = true
            while end < bytes.count, bytes[end] != UInt8(ascii: "\n") {
                if bytes[end] > 0x20 { blank = false }
                end += 1
            }
            if !blank { starts.append(start) }
            start = end + 1
        }
        self.starts = starts
    }

    /// The object in a line, counted from 0 without empty lines.
    func record(_ number: Int) throws -> LineRecord {
        try last.value(of: number) { try read(number) }
    }

    private func read(_ number: Int) throws -> LineRecord {
        let bytes = file.bytes
        var end = starts[number]
        while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
        var reader = JSONReader(file, in: starts[number]..<end, rules: .halfPairsReplaced)
        let value = try reader.value()
        try reader.finish()
        guard case .object = value else {
            throw reader.error("expected an object", at: starts[number])
        }
        return LineRecord(value: value, file: file.path, offset: starts[number])
    }
}

/// One line's object.
struct LineRecord {
    let value: JSONValue
    let file: String
    let offset: Int

    func error(_ key: String, _ problem: String) -> InputError {
        InputError(.badInput, file: file, item: key, offset: offset, problem)
    }

    func text(_ key: String) throws -> String {
        guard let text = value[key]?.text else { throw error(key, "expected a text") }
        return text
    }

    func texts(_ key: String) throws -> [String] {
        let texts = value[key]?.array?.map(\.text) ?? [nil]
        guard !texts.isEmpty, !texts.contains(nil) else {
            throw error(key, "expected a list of one or more texts")
        }
        return texts.compactMap { $0 }
    }

    func attributes(_ keys: [String]) -> [String: String] {
        var found: [String: String] = [:]
        for key in keys {
            if let text = value[key]?.text {
                found[key] = text
            } else if let number = value[key]?.integer {
                found[key] = String(number)
            }
        }
        return found
    }
}
