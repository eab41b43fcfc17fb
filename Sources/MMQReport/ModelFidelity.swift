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
    /// - Throws: `InputError`, `.badInput` if it holds something else.
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
        try requireOnce(entries.map(\.domain.rawValue), "domain", file)
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
        guard fidelity.models.count <= 100 else {
            throw InputError(
                .badInput, file: file, item: "models", expected: "at most 100",
                found: "\(fidelity.models.count)")
        }
        for model in fidelity.models { try Self.check(model, file) }
        self.file = ReportDocument.name(file)
    }

    /// Refuses what no run prints, and what a page would be too long for.
    private static func check(_ model: Fidelity.Model, _ file: String) throws {
        try requireOnce(model.entries.map(\.domain.rawValue), "domain", file)
        try requireOnce(model.answers.map(\.domain.rawValue), "answers", file)
        try requireOnce(
            model.scores.map { "\($0.domain.rawValue) \($0.form.rawValue) \($0.metric)" },
            "scores", file)
        try requireOnce(
            model.neurons.map { "\($0.module) \($0.domain.rawValue)" }, "neurons", file)
        for entry in model.entries {
            try entry.comparison.check(file)
            try requireLayers(entry.shifts.map { ($0.module, $0.layer) }, "shifts", file)
            for shift in entry.shifts
            where
                !(0 <= shift.mean && shift.mean <= 1 && 0 <= shift.greatest && shift.greatest <= 1)
            {
                throw InputError(
                    .badInput, file: file, item: "shifts", expected: "changes of probabilities",
                    found: "\(shift.mean), \(shift.greatest)")
            }
        }
    }
}

/// Refuses words that are there twice.
private func requireOnce(_ words: [String], _ item: String, _ file: String) throws {
    var known: Set<String> = []
    for word in words where !known.insert(word).inserted {
        throw InputError(.duplicate, file: file, item: item, expected: "each once", found: word)
    }
}

/// Refuses layers that are not those of modules from 0 on, each once: they become places of a chart.
private func requireLayers(
    _ layers: [(module: String, layer: Int)], _ item: String, _ file: String
) throws {
    var known: [String: Set<Int>] = [:]
    for (module, layer) in layers where !known[module, default: []].insert(layer).inserted {
        throw InputError(
            .duplicate, file: file, item: item, expected: "each layer once",
            found: "\(module) \(layer)")
    }
    let most = 10_000
    for (module, some) in known where some.min() != 0 || some.max() != some.count - 1 {
        throw InputError(
            .badInput, file: file, item: item, expected: "layers of \(module) from 0 on",
            found: "\(some.count) from \(some.min() ?? 0) to \(some.max() ?? 0)")
    }
    guard layers.count <= most else {
        throw InputError(
            .badInput, file: file, item: item, expected: "at most \(most) layers",
            found: "\(layers.count)")
    }
}

extension ModelComparison {
    /// Refuses numbers that no comparison gives.
    ///
    /// - Parameter file: where they stand.
    fileprivate func check(_ file: String) throws {
        func require(_ alike: UInt64, of all: UInt64, _ item: String) throws {
            // So few that sums over five domains and all layers are numbers too.
            guard alike <= all, all <= 1 << 48 else {
                throw InputError(
                    .badInput, file: file, item: item,
                    expected: "a part of what there is, at most 2^48", found: "\(alike) of \(all)")
            }
        }
        try requireLayers(firing.map { ($0.module, $0.layer) }, "firing", file)
        for layer in firing {
            try require(layer.alike, of: layer.pairs, "alike")
            for kind in [layer.image, layer.text] {
                if let kind { try require(kind.alike, of: kind.pairs, "alike") }
            }
        }
        for kind in lens.flatMap({ [$0.image, $0.text] }) {
            try require(
                UInt64(bitPattern: Int64(kind.agreeing)),
                of: UInt64(bitPattern: Int64(kind.positions)), "agreeing")
            guard abs(kind.divergence) <= 1e15 else {
                throw InputError(
                    .badInput, file: file, item: "divergence", expected: "a sum of nats",
                    found: "\(kind.divergence)")
            }
        }
    }
}
