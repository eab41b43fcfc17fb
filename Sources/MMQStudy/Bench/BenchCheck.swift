import Foundation
import MMQBase

/// What a bench folder holds.
public struct BenchCheck: Sendable, Equatable, Codable {
    /// One split of one domain.
    public struct Entry: Sendable, Equatable, Codable {
        /// The domain.
        public let domain: Domain
        /// The split.
        public let split: String
        /// Questions, as the annotations list them (for `med` each once).
        public let questions: Int
        /// Samples that the official order yields, those with missing pictures not counted.
        public let samples: Int
        /// Samples whose picture is not there.
        public let missing: Int
        /// The first few files that are not there.
        public let missingFiles: [String]
        /// What stands in the way, if the split cannot be read; the numbers are then 0.
        public let problem: String?
        /// Whether that is only that the data set's files are not there at all.
        public let isAbsent: Bool
    }

    /// The splits that were looked for, in the order of the domains.
    public let entries: [Entry]

    /// Walks through a bench folder: every annotation is read, every picture looked for (not
    /// opened).
    ///
    /// - Parameters:
    ///   - bench: the folder.
    ///   - domains: which domains.
    ///   - splits: which splits.
    ///   - allowsOutside: whether pictures may lie outside the folder.
    ///   - progress: called now and then with the number of questions gone through.
    public init(
        bench: String, domains: [Domain] = Domain.allCases, splits: [String] = ["train", "val"],
        allowsOutside: Bool = false,
        progress: (Domain, String, Int, Int) -> Void = { _, _, _, _ in }
    ) throws {
        guard isFolder(bench) == true else {
            throw InputError(.badInput, file: bench, "no such folder")
        }
        entries = domains.flatMap { domain in
            splits.map { split in
                Self.check(bench, domain, split, allowsOutside) { progress(domain, split, $0, $1) }
            }
        }
    }

    private static func check(
        _ bench: String, _ domain: Domain, _ split: String, _ allowsOutside: Bool,
        _ progress: (Int, Int) -> Void
    ) -> Entry {
        var samples = 0
        var missing = 0
        var files: [String] = []
        func entry(
            _ questions: Int, _ problem: String?, isAbsent: Bool = false
        ) -> Entry {
            Entry(
                domain: domain, split: split, questions: questions, samples: samples,
                missing: missing, missingFiles: files, problem: problem,
                isAbsent: isAbsent)
        }
        func note(_ paths: [String]) {
            for path in paths where files.count < 5 && !files.contains(path) { files.append(path) }
        }
        do {
            let walk = try BenchSplit(
                bench: bench, domain: domain, split: split, form: .full,
                allowsOutside: allowsOutside)
            while let item = try walk.next() {
                switch item {
                case .sample(let sample):
                    samples += 1
                    note(sample.missing)
                case .missing(_, let looked):
                    missing += 1
                    note(looked)
                }
                if (samples + missing) % 256 == 0 { progress(walk.position, walk.count) }
            }
            return entry(domain == .med ? walk.count / 2 : walk.count, nil)
        } catch {
            (samples, missing, files) = (0, 0, [])
            let file = (error as? InputError)?.file
            return entry(0, "\(error)", isAbsent: file.map { !exists($0) } ?? false)
        }
    }
}
