import Foundation
import MMQBase
import MMQFormats
import MMQModels

/// Writes what a study holds with the official code's key names, and reads the same layout back, but
/// for blocks and moments.
///
///     FOLDER/<model>/activation/<domain>.safetensors
///         <module>_log i64 [layers, neurons], <module>_value f64, <module>_len i64 [1]
///     FOLDER/<model>/blocks/<domain>.safetensors, where counts lie in blocks: samples i64 [blocks];
///         for each kind of positions <module>_<positions>_log i64 [blocks, layers, neurons],
///         _len i64 [blocks], _value and _square f64, _max f32 [layers, neurons]
///     FOLDER/<model>/moments/<domain>.safetensors, where the strongest activations were kept:
///         <module>_top f32, _sample and _token i64 [layers, neurons, keep], -infinity and -1 where
///         there is none, _above i64 [layers, edges, neurons], _len i64 [1]; edges f32
///     FOLDER/<model>/mask/<module>.json, of sets with a name mask/<set>/<module>.json
///         {"domains": ["ad", ...], "neurons": {"ad": [[indices] per layer], ...}}
///     FOLDER/<model>/answers/<domain>/<setting>.jsonl (see `AnswerFiles`)
public enum StudyExport {
    /// Writes the counts of one split, all neuron sets, and the answers to one split.
    ///
    /// - Parameters:
    ///   - study: the study.
    ///   - folder: the folder; made if it is not there.
    ///   - model: the name of the folder in it; nil for the official code's, by the architecture.
    ///   - split: the split whose counts are written.
    ///   - answerSplit: the split whose answers are written.
    ///   - blocks: whether the counts of each block are written too, of a 7B model sixteen times
    ///     as much as their sums.
    ///   - moments: whether the strongest activations are written too, of a 7B model four times as
    ///     much.
    /// - Returns: the files that were written.
    @discardableResult
    public static func write(
        _ study: Study, to folder: String, model: String? = nil, split: String = "train",
        answerSplit: String = "val", blocks: Bool = true, moments: Bool = true
    ) throws -> [String] {
        let modules = try study.modules()
        guard try !modules.isEmpty || !study.answerSets().isEmpty else {
            throw InputError(.mismatch, file: study.path, "the study is empty")
        }
        let place = try modelFolder(study, in: folder, model: model)
        var written: [String] = []
        func makeFolder(_ kind: String) throws -> String {
            let path = "\(place)/\(kind)"
            try MMQBase.makeFolder(path)
            return path
        }
        let passes = try study.passes().filter { $0.split == split && $0.form == .simple }
        if !passes.isEmpty {
            let path = try makeFolder("activation")
            for pass in passes {
                let file = "\(path)/\(pass.domain.rawValue).safetensors"
                try writeCounts(
                    try study.counts(domain: pass.domain, split: split), to: file,
                    metadata: [
                        "domain": pass.domain.rawValue, "split": split,
                        "samples": String(pass.samples), "skipped": String(pass.skipped),
                        "model": try study.model() ?? "",
                    ])
                written.append(file)
            }
        }
        for pass in passes where blocks {
            let counts = try study.passCounts(pass)
            guard !counts.samples.isEmpty else { continue }
            let file = "\(try makeFolder("blocks"))/\(pass.domain.rawValue).safetensors"
            try BlockFile.write(counts, of: pass, modules: modules, to: file)
            written.append(file)
        }
        for pass in passes where moments && pass.keepTop > 0 {
            let file = "\(try makeFolder("moments"))/\(pass.domain.rawValue).safetensors"
            try MomentFile.write(try study.passMoments(pass), of: pass, modules: modules, to: file)
            written.append(file)
        }
        for set in try study.setNames() {
            for module in modules {
                guard let found = try study.identification(module: module.name, set: set) else {
                    continue
                }
                let folder = try makeFolder(set.isUsual ? "mask" : "mask/\(set.name)")
                let file = "\(folder)/\(module.name).json"
                try OutputFile.write(Array(maskText(found).utf8), to: file)
                written.append(file)
            }
        }
        written += try AnswerFiles.write(study, to: place, split: answerSplit)
        return written
    }

    /// Where a model's files go: `folder`/<model>.
    ///
    /// - Parameter model: the folder's name; nil for the official code's, by the architecture.
    static func modelFolder(
        _ study: Study, in folder: String, model: String?
    ) throws -> String {
        guard let name = try model ?? study.architecture()?.exportName else {
            throw InputError(
                .mismatch, file: study.path, item: "model",
                "of no architecture that this mmq knows; name the folder with --name")
        }
        guard !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
            throw InputError(.badInput, file: folder, "'\(name)' is not a folder's name")
        }
        return "\(folder)/\(name)"
    }

    /// Reads files of that layout into a study: `.safetensors` are counts of the domain that the
    /// file is called after, `.json` neuron sets of the module, `.jsonl` answers. Folders are
    /// searched. Either everything is taken or, where a file is at fault, nothing.
    ///
    /// - Parameters:
    ///   - paths: files and folders.
    ///   - study: a study that is empty, or was made by importing.
    ///   - split: the split that the counts are of.
    ///   - answerSplit: the split that the answers are of.
    /// - Returns: the files that were read.
    @discardableResult
    public static func read(
        _ paths: [String], into study: Study, split: String = "train", answerSplit: String = "val"
    ) throws -> [String] {
        try study.atomically {
            try readAll(paths, into: study, split: split, answerSplit: answerSplit)
        }
    }

    private static func readAll(
        _ paths: [String], into study: Study, split: String, answerSplit: String
    ) throws -> [String] {
        let files = try paths.flatMap(files)
        let counts = files.filter { $0.hasSuffix(".safetensors") }
        let masks = files.filter { $0.hasSuffix(".json") }
        for file in counts {
            let stem = URL(fileURLWithPath: file).deletingPathExtension().lastPathComponent
            guard let domain = Domain(rawValue: stem) else {
                let names = Domain.allCases.map(\.rawValue).joined(separator: ", ")
                throw InputError(.badInput, file: file, "not called after a domain (\(names))")
            }
            let (entries, metadata) = try readCounts(file)
            let known = try study.modules()
            let order = known.isEmpty ? entries.map(\.shape) : known
            // The order of a study that exists; a new one takes the order of the official code.
            try study.bind(modules: order, fingerprint: PassState.imported)
            let sorted = try order.map { shape in
                guard let entry = entries.first(where: { $0.shape == shape }) else {
                    throw InputError(
                        .mismatch, file: file, item: shape.name,
                        "no counts of \(shape.layers) × \(shape.neurons) neurons")
                }
                return entry
            }
            var state = PassState(
                domain: domain, split: split, form: .simple, bench: PassState.imported)
            func amount(_ key: String) -> Int {
                let value = metadata[key].flatMap { Int($0) } ?? 0
                return (0...StudyLimit.amount).contains(value) ? value : 0
            }
            state.samples = amount("samples")
            state.skipped = amount("skipped")
            state.visionTokens =
                sorted.first { Architectures.visionModules.contains($0.shape.name) }?.tokens ?? 0
            state.finished = true
            try study.commit(state, sorted)
        }
        for file in masks { try readMask(file, into: study, split: split) }
        let answers = files.filter { $0.hasSuffix(".jsonl") }
        try AnswerFiles.read(answers, into: study, split: answerSplit)
        return counts + masks + answers
    }

    private static func files(_ path: String) throws -> [String] {
        guard let inFolder = isFolder(path) else {
            throw InputError(.badInput, file: path, "not there")
        }
        guard inFolder else { return [path] }
        let entries = FileManager.default.enumerator(atPath: path)?.allObjects ?? []
        return entries.compactMap { $0 as? String }.sorted()
            .filter { entry in
                let folder = URL(fileURLWithPath: path + "/" + entry).deletingLastPathComponent()
                let parent = folder.lastPathComponent
                let above = folder.deletingLastPathComponent().lastPathComponent
                return entry.hasSuffix(".safetensors") && parent == "activation"
                    || entry.hasSuffix(".json") && [parent, above].contains("mask")
                    || AnswerFiles.isAnswerFile(path + "/" + entry)
            }
            .map { path + "/" + $0 }
    }

    private static func writeCounts(
        _ counts: [ModuleCounts], to file: String, metadata: [String: String]
    ) throws {
        var tensors: [SafetensorsWriter.Declaration] = []
        for entry in counts {
            let name = entry.shape.name
            let shape = [entry.shape.layers, entry.shape.neurons]
            tensors.append(.init(name: name + "_log", type: .i64, shape: shape))
            tensors.append(.init(name: name + "_value", type: .f64, shape: shape))
            tensors.append(.init(name: name + "_len", type: .i64, shape: [1]))
        }
        let writer = try SafetensorsWriter(path: file, tensors: tensors, metadata: metadata)
        do {
            for entry in counts {
                try writer.write(entry.shape.name + "_log", entry.counts)
                try writer.write(entry.shape.name + "_value", entry.sums)
                try writer.write(entry.shape.name + "_len", [entry.tokens])
            }
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }

    private static func readCounts(
        _ path: String
    ) throws -> (counts: [ModuleCounts], metadata: [String: String]) {
        let file = try SafetensorsFile(path: path)
        var counts: [ModuleCounts] = []
        for name in Architectures.moduleNames {
            guard let log = file[name + "_log"] else { continue }
            guard log.shape.count == 2 else {
                throw InputError(
                    .badInput, file: path, item: log.name,
                    "shape \(log.shape), expected [layers, neurons]")
            }
            let value = try file.tensor(name + "_value")
            guard value.shape == log.shape else {
                throw InputError(
                    .badInput, file: path, item: value.name,
                    "shape \(value.shape), but \(log.name) has \(log.shape)")
            }
            let shape = ModuleShape(name: name, layers: log.shape[0], neurons: log.shape[1])
            var entry = ModuleCounts(shape: shape)
            entry.counts = try file.integers(log.name)
            entry.sums = try file.doubles(value.name)
            let tokens = try file.integers(name + "_len")
            guard tokens.count == 1, (0...Int64(StudyLimit.amount)).contains(tokens[0]) else {
                throw InputError(.badInput, file: path, item: name + "_len", "expected one number")
            }
            guard entry.counts.allSatisfy({ (0...tokens[0]).contains($0) }) else {
                throw InputError(
                    .badInput, file: path, item: log.name,
                    "a count that is negative or above \(name)_len")
            }
            entry.tokens = tokens[0]
            counts.append(entry)
        }
        guard !counts.isEmpty else {
            throw InputError(.badInput, file: path, "no <module>_log of a known module")
        }
        return (counts, file.metadata)
    }

    private static func maskText(_ found: Identification) -> String {
        let domains = found.domains.map { jsonString($0.rawValue) }.joined(separator: ", ")
        let lists = zip(found.domains, found.neurons).map { domain, layers in
            let lists = layers.map { "[" + $0.map(String.init).joined(separator: ", ") + "]" }
            return "    \(jsonString(domain.rawValue)): [" + lists.joined(separator: ", ") + "]"
        }
        let settings = [
            ("top_rate", found.settings.topRate), ("filter_rate", found.settings.filterRate),
            ("activation_bar", found.settings.activationBar),
            ("filter_threshold", found.filterThreshold),
            ("activation_threshold", found.activationThreshold),
        ].map { "\"\($0.0)\": \(pythonRepr($0.1))" }.joined(separator: ", ")
        let how = [
            ("rule", found.settings.rule.rawValue),
            ("positions", found.settings.positions.rawValue),
        ].map { "\(jsonString($0.0)): \(jsonString($0.1))" }.joined(separator: ", ")
        return """
            {
              "module": \(jsonString(found.module.name)),
              "domains": [\(domains)],
              "settings": {\(settings), "split": \(jsonString(found.split)), \
            "selected": \(found.selected), \(how)},
              "neurons": {
            \(lists.joined(separator: ",\n"))
              }
            }

            """
    }

    private static func readMask(_ path: String, into study: Study, split: String) throws {
        let stem = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        let document = try JSONValue(file: path)
        let module = try study.module(document["module"]?.text ?? stem)
        guard let names = document["domains"]?.array?.map(\.text), let sets = document["neurons"]
        else {
            throw InputError(.badInput, file: path, "no 'domains' or no 'neurons'")
        }
        let domains = names.compactMap { $0.flatMap(Domain.init(rawValue:)) }
        guard domains.count == names.count, Set(domains).count == names.count else {
            throw InputError(
                .badInput, file: path, item: "domains", "an unknown domain, or one twice")
        }
        let neurons = try domains.map { domain in
            let lists = sets[domain.rawValue]?.array?.map { $0.array?.map(\.integer) }
            guard let lists, !lists.contains(where: { $0?.contains(nil) ?? true }) else {
                throw InputError(
                    .badInput, file: path, item: domain.rawValue, "expected lists of integers")
            }
            let layers = lists.map { ($0 ?? []).compactMap { $0 } }
            let mask = try NeuronMask(
                layers: [module.name: layers], modules: [module], file: path)
            return mask.layers[module.name]?.map(\.neurons) ?? layers
        }
        func number(_ key: String, _ otherwise: Double) -> Double {
            switch document["settings"]?[key] {
            case .number(let number): number
            case .integer(let number): Double(number)
            default: otherwise
            }
        }
        let selected = document["settings"]?["selected"]?.integer ?? 0
        guard (0...module.layers * module.neurons).contains(selected) else {
            throw InputError(
                .badInput, file: path, item: "settings.selected",
                "\(selected), expected at most the module's \(module.layers * module.neurons) neurons"
            )
        }
        func word<Word: RawRepresentable<String>>(_ key: String, _ usual: Word) throws -> Word {
            guard let text = document["settings"]?[key]?.text else { return usual }
            guard let word = Word(rawValue: text) else {
                throw InputError(
                    .badInput, file: path, item: "settings.\(key)", "\(quoted(text)) is not known")
            }
            return word
        }
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        let isNamed = folder.deletingLastPathComponent().lastPathComponent == "mask"
        // Files of the official code say nothing of how the sets were found.
        try study.save(
            Identification(
                module: module, domains: domains,
                split: document["settings"]?["split"]?.text ?? split,
                settings: .init(
                    topRate: number("top_rate", 0.01), filterRate: number("filter_rate", 0.95),
                    activationBar: number("activation_bar", 0.95),
                    rule: word("rule", Identification.Rule.dape),
                    positions: word("positions", Positions.all)),
                filterThreshold: number("filter_threshold", 0),
                activationThreshold: number("activation_threshold", 0),
                selected: selected, neurons: neurons),
            set: isNamed ? try SetName(folder.lastPathComponent) : .usual)
    }
}
