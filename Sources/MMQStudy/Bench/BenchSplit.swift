import Foundation
import MMQBase
import MMQFormats

/// One domain of a bench folder, one split of it: its samples in the official order.
///
/// The walk is lazy: opening reads the annotations' structure, a sample's texts are read when it
/// comes up. Where the official code takes one question per picture, so does the walk; a picture
/// that is not there is reported, and its other questions are passed over, as there.
public final class BenchSplit {
    /// The domain.
    public let domain: Domain
    /// `train`, `val` or another split that the files have.
    public let split: String
    /// Which prompt the samples carry.
    public let form: PromptForm
    /// Places in the shuffled order, repeated pictures included.
    public var count: Int { table.count }
    /// The next place that the walk looks at. A walk that is moved to it with `skip(to:)` goes on
    /// in the same way.
    public private(set) var position = 0

    private let bench: String
    /// Where the bench really lies; nil where pictures may lie anywhere.
    private let root: String?
    private let table: any BenchTable
    /// Where the folder of the last picture really lies: the next is often in the same one.
    private var folder: (path: Substring, place: String)?
    private var seen: Set<String> = []
    /// What a shard's plan found ahead of the walk, and how far the walk has come in it.
    private var planned: [PlannedPlace] = []
    private var walked = 0

    /// Opens a domain of the bench in folder `bench`.
    ///
    /// - Parameter allowsOutside: whether pictures may lie outside the folder, by a link or by a
    ///   path in the annotations. Annotations come from elsewhere: by default they cannot name any
    ///   file of this machine.
    /// - Throws: `InputError` naming the file and place if annotations are missing or broken.
    public init(
        bench: String, domain: Domain, split: String, form: PromptForm,
        allowsOutside: Bool = false
    ) throws {
        let letters = split.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
        guard letters, !split.isEmpty else {
            throw InputError(.badInput, file: bench, "'\(split)' is not the name of a split")
        }
        self.bench = bench
        root = allowsOutside ? nil : realPath(bench)
        self.domain = domain
        self.split = split
        self.form = form
        switch domain {
        case .ad: table = try DrivingTable(bench: bench, split: split)
        case .med: table = try MedicalTable(bench: bench, split: split)
        case .rs: table = try AerialTable(bench: bench, split: split)
        case .com: table = try EverydayTable(bench: bench, split: split)
        case .doc: table = try DocumentTable(bench: bench, split: split)
        }
    }

    /// A walk of its own over the same annotations, from their beginning.
    init(again other: BenchSplit) {
        (bench, root, table) = (other.bench, other.root, other.table)
        (domain, split, form) = (other.domain, other.split, other.form)
    }

    /// Identifies the annotations, so that a run is not continued over changed files.
    public private(set) lazy var fingerprint: String = {
        table.files.map { file in
            let hash = String(file.contentHash(), radix: 16)
            return URL(fileURLWithPath: file.path).lastPathComponent + ":" + hash
        }.joined(separator: " ")
    }()

    /// The next sample or missing picture; nil at the end.
    public func next() throws -> BenchItem? {
        if walked < planned.count {
            let place = Int(planned[walked].position)
            let item = try item(at: place)
            walked += 1
            position = place + 1
            return item
        }
        guard let place = try nextPlace() else { return nil }
        let item = try item(at: place)
        position += 1
        return item
    }

    /// The next place that is not another question about a picture which the walk has met; nil at the
    /// end.
    private func nextPlace() throws -> Int? {
        while position < table.count {
            guard let key = try table.pictureKey(at: position), !seen.insert(key).inserted else {
                return position
            }
            position += 1
        }
        return nil
    }

    /// - Parameter isWhole: false for prompt and pictures alone.
    private func item(at place: Int, isWhole: Bool = true) throws -> BenchItem {
        let content = try table.content(at: place, isWhole: isWhole)
        let pictures = try look(for: content.pictures)
        guard !pictures.found.isEmpty else {
            return .missing(position: place, files: pictures.missing)
        }
        return .sample(
            BenchSample(
                domain: domain, position: place, index: content.index, question: content.question,
                prompt: domain.prompt(
                    question: content.question, options: content.options, form: form),
                answer: content.answer, attributes: content.attributes, pictures: pictures.found,
                missing: pictures.missing))
    }

    private func look(
        for pictures: [[String]]
    ) throws -> (found: [String], missing: [String]) {
        var found: [String] = []
        var missing: [String] = []
        for candidates in pictures {
            var isFound = false
            for file in candidates where !isFound {
                let kind = FileKind(of: file)
                isFound = kind == .regular || kind == .link && isRegularFile(file)
                guard isFound else { continue }
                try checkPlace(of: file, isLink: kind == .link)
                found.append(file)
            }
            if !isFound { missing += candidates }
        }
        return (found, missing)
    }

    /// Walks ahead to a goal that all parts of the bench have together, and begins again: other parts'
    /// places can be passed by then (`nextPassedBy`) without a second look.
    ///
    /// - Parameters:
    ///   - tokens: what a sample, of which prompt and pictures are read, adds to what goals are counted
    ///     in, with an error as a step throws it for samples that the model cannot take; nil where all
    ///     samples count alike: pictures are looked for then, and texts not read.
    ///   - isReached: asked with samples and tokens so far.
    /// - Returns: how many of the samples are the shard's.
    /// - Precondition: the walk has not begun.
    func plan(
        _ shard: Shard, tokens: ((BenchSample) throws -> Int)?,
        isReached: (_ samples: Int, _ tokens: Int64) -> Bool
    ) throws -> Int {
        precondition(position == 0 && planned.isEmpty)
        var (own, taken, sum) = (0, 0, Int64(0))
        while !isReached(taken, sum), let place = try nextPlace() {
            position += 1
            let isOwn = shard.takes(place)
            func remember(_ outcome: PlannedPlace.Outcome) {
                planned.append(
                    PlannedPlace(position: UInt32(place), isOwn: isOwn, outcome: outcome))
            }
            let missing: Int
            if let tokens {
                guard case .sample(let sample) = try item(at: place, isWhole: false) else {
                    remember(.missing)
                    continue
                }
                do {
                    sum += Int64(try tokens(sample))
                } catch let error as InputError where error.reasonOfSample != nil {
                    remember(.refused)
                    continue
                }
                missing = sample.missing.count
            } else {
                let pictures = try look(for: table.pictures(at: place))
                guard !pictures.found.isEmpty else {
                    remember(.missing)
                    continue
                }
                missing = pictures.missing.count
            }
            remember(.sample(missingFrames: UInt32(missing)))
            taken += 1
            if isOwn { own += 1 }
        }
        position = 0
        return own
    }

    /// What a plan found at the next place, if another part takes that; the walk is behind it then.
    func nextPassedBy() -> PlannedPlace? {
        guard walked < planned.count, !planned[walked].isOwn else { return nil }
        defer { walked += 1 }
        position = Int(planned[walked].position) + 1
        return planned[walked]
    }

    /// The samples that an earlier run passed over because their pictures were not there, and now
    /// are, in the bench's order. The walk does not move.
    ///
    /// - Parameter shard: none are there for a part of the samples: parts walk alike, and what one of
    ///   them finds again the others would have to pass by.
    func returned(to cursor: RunCursor, shard: Shard?) throws -> [BenchSample] {
        guard shard == nil, !cursor.missing.isEmpty else { return [] }
        let walk = BenchSplit(again: self)
        return try cursor.missing.compactMap { place in
            try walk.skip(to: place)
            guard case .sample(let sample)? = try walk.next(), sample.position == place else {
                return nil
            }
            return sample
        }
    }

    /// A picture outside the bench is read only where that was allowed.
    private func checkPlace(of picture: String, isLink: Bool) throws {
        guard let root, let place = place(of: picture, isLink: isLink) else { return }
        guard place.hasPrefix(root.hasSuffix("/") ? root : root + "/") else {
            throw InputError(
                .badInput, file: picture, expected: "a picture within \(bench)",
                found: "\(place); --allow-outside lets a bench name pictures elsewhere")
        }
    }

    /// Where a regular file really lies; nil if it is gone. Every shard walks over all pictures of a
    /// plan: that of a folder is looked up once for those that follow each other in it.
    private func place(of picture: String, isLink: Bool) -> String? {
        guard let slash = picture.lastIndex(of: "/"), !isLink else {
            return realPath(picture)
        }
        let path = picture[...slash]
        if folder?.path != path { folder = realPath(String(path)).map { (path, $0) } }
        guard let folder, folder.path == path else { return nil }
        let separator = folder.place.hasSuffix("/") ? "" : "/"
        return folder.place + separator + picture[slash...].dropFirst()
    }

    /// Moves the walk on to `place` as if it had been walked there, without looking at pictures.
    public func skip(to place: Int) throws {
        while walked < planned.count, planned[walked].position < place {
            position = Int(planned[walked].position) + 1
            walked += 1
        }
        if walked < planned.count {
            position = max(position, place)
            return
        }
        while position < min(place, table.count) {
            if let key = try table.pictureKey(at: position) { seen.insert(key) }
            position += 1
        }
    }
}

/// A domain's annotations in shuffled order.
protocol BenchTable {
    /// The annotation files that were read.
    var files: [MappedFile] { get }
    /// Number of places in the shuffled order.
    var count: Int { get }
    /// What tells pictures apart; nil where every question counts, repeated pictures or not.
    func pictureKey(at place: Int) throws -> String?
    /// For each picture of the sample at a place the files it may be, best first.
    func pictures(at place: Int) throws -> [[String]]
    /// The sample at a place.
    ///
    /// - Parameter isWhole: false where answer and attributes may be left out.
    func content(at place: Int, isWhole: Bool) throws -> BenchContent
}

/// A sample before its pictures are looked for.
struct BenchContent {
    /// The official number of the sample.
    var index: Int
    /// The question.
    var question: String
    /// The choices as Python prints a list of them (`med`).
    var options: String?
    /// The ground truth.
    var answer: JSONValue
    /// Type and id, where the data set has them.
    var attributes: [String: String] = [:]
    /// For each picture the files it may be, best first.
    var pictures: [[String]]
}

extension Domain {
    /// The official prompt, character by character.
    func prompt(question: String, options: String?, form: PromptForm) -> String {
        if form == .simple { return "<image>\n\(question)" }
        switch self {
        case .ad:
            return "<image>\nRole: You are an advanced AI assistant installed on the Ego vehicle, "
                + "equipped with conversational analysis capabilities for discussing autonomous "
                + "driving scenarios. The perspective presented is from the point-of-view of the "
                + "Ego vehicle, where the camera is mounted. It's important to note that the Ego "
                + "vehicle itself is not visible in the images provided. Question: \(question)"
        case .med:
            return "<image>\nQuestion: \(question)\nContext: N/A\nOptions: \(options ?? "[]")\n\n"
                + "Answer with the option's letter from the given choices directly."
        case .rs, .com, .doc:
            return "<image>\nQuestion: \(question)\n"
                + "Answer the question using a single word or phrase."
        }
    }
}

/// The row of an annotation file that was read last: what tells its picture, its texts and where the
/// picture lies are asked for one after the other.
final class LastRow<Row> {
    private var number: Int?
    private var row: Row?

    /// - Parameter read: reads a row that is not the last one.
    func value(of number: Int, read: () throws -> Row) rethrows -> Row {
        if number == self.number, let row { return row }
        let row = try read()
        (self.number, self.row) = (number, row)
        return row
    }
}
