import Foundation
import MMQBase
import MMQStudy

/// Two models run side by side: what `mmq compare --model A --model B --json` prints. Studies do not
/// keep single tokens, so this cannot come from two of them.
public struct ModelFidelity: Sendable, Codable {
    /// One domain.
    public struct Entry: Sendable, Codable {
        /// The domain.
        public let domain: Domain
        /// What differs.
        public let comparison: ModelComparison
    }

    /// The name of the file it was read from.
    public let file: String
    /// The domains that samples were compared of.
    public let entries: [Entry]

    /// Reads a file.
    ///
    /// - Throws: `InputError`, or `InputError`, `.badInput` if it holds something else.
    public init(file: String) throws {
        let bytes = try readSmallFile(file)
        do {
            entries = try JSONDecoder().decode([Entry].self, from: Data(bytes))
                .filter { $0.comparison.samples > 0 }
        } catch {
            throw InputError(
                .badInput, file: file, "not what '\(CommandHint.compareModels)' prints")
        }
        guard !entries.isEmpty else {
            throw InputError(.badInput, file: file, "no sample was compared")
        }
        for entry in entries { try entry.comparison.check(file) }
        self.file = ReportDocument.name(file)
    }
}

/// Number formats next to a reference: what `mmq fidelity --json` prints.
public struct FormatFidelity: Sendable, Codable {
    /// The name of the file it was read from.
    public let file: String
    /// What it holds.
    public let fidelity: Fidelity

    /// Reads a file.
    ///
    /// - Throws: `InputError`, `.badInput` if it holds something else.
    public init(file: String) throws {
        let bytes = try readSmallFile(file)
        do {
            fidelity = try JSONDecoder().decode(Fidelity.self, from: Data(bytes))
        } catch {
            throw InputError(.badInput, file: file, "not what '\(CommandHint.fidelity)' prints")
        }
        guard fidelity.models.contains(where: { !$0.entries.isEmpty }) else {
            throw InputError(.badInput, file: file, "no sample was compared")
        }
        for entry in fidelity.models.flatMap(\.entries) {
            try entry.comparison.check(file)
            for shift in entry.shifts { try ModelComparison.check(layer: shift.layer, file) }
        }
        self.file = ReportDocument.name(file)
    }
}

extension ModelComparison {
    /// Layers become places of a chart.
    static func check(layer: Int, _ file: String) throws {
        guard (0..<10_000).contains(layer) else {
            throw InputError(.badInput, file: file, item: "layer", "\(layer) is no layer")
        }
    }

    /// Refuses numbers that no comparison gives.
    ///
    /// - Parameter file: where they stand.
    func check(_ file: String) throws {
        func require(_ alike: UInt64, of all: UInt64, _ item: String) throws {
            // So few that sums over layers and domains are numbers too.
            guard alike <= all, all <= 1 << 50 else {
                throw InputError(
                    .badInput, file: file, item: item,
                    expected: "a part of what there is, at most 2^50", found: "\(alike) of \(all)")
            }
        }
        for layer in firing {
            try Self.check(layer: layer.layer, file)
            try require(layer.alike, of: layer.pairs, "alike")
            for kind in [layer.image, layer.text] {
                if let kind { try require(kind.alike, of: kind.pairs, "alike") }
            }
        }
        for kind in lens.flatMap({ [$0.image, $0.text] }) {
            try require(
                UInt64(bitPattern: Int64(kind.agreeing)),
                of: UInt64(bitPattern: Int64(kind.positions)), "agreeing")
        }
    }
}
