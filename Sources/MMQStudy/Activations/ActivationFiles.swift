import Foundation
import MMQBase
import MMQFormats
import MMQModels

/// Removes files and partial files of ascending numbers until there is none.
private func removeFiles(from first: Int, _ path: (Int) -> String) throws {
    for number in first... {
        var isThere = false
        for file in [path(number), path(number) + ".partial"] {
            guard unlink(file) == 0 else {
                if errno == ENOENT { continue }
                throw InputError.system(.writeFailed, file: file, errno)
            }
            isThere = true
        }
        if !isThere { return }
    }
}

/// The rows of one layer over all samples, in files of as many rows each but for the last.
///
/// Where a file ends depends on the number of rows alone, so that runs that were interrupted make the
/// same files. A full one gets its name at once; the one that is under way is kept for the next run.
private final class LayerFiles {
    let site: ActivationSelection.Site
    private(set) var rows: Int
    private let folder: String
    private let name: String
    private let type: SafetensorsType
    private let rowsPerFile: Int
    private var file: SafetensorsRows?
    /// Rows of the sample at hand that have come, those that are not chosen included.
    var seen = 0
    private var scratch: [Float] = []

    init(
        _ site: ActivationSelection.Site, name: String, type: SafetensorsType, rowsPerFile: Int,
        in folder: String, rows: Int
    ) {
        self.site = site
        self.name = name
        self.type = type
        self.rowsPerFile = rowsPerFile
        self.folder = folder
        self.rows = rows
    }

    /// Appends those of the next rows [rows, neurons] of a sample that are chosen.
    func take(_ values: UnsafeBufferPointer<Float>, neurons: Int, chosen: [Bool]) throws {
        let count = values.count / max(1, neurons)
        guard seen + count <= chosen.count else {
            throw InputError(
                .failed, file: site.place.name, expected: "\(chosen.count) rows of a sample",
                found: "more")
        }
        let part = chosen[seen..<seen + count]
        seen += count
        if site.neurons == nil, part.allSatisfy({ $0 }) { return try append(values) }
        scratch.removeAll(keepingCapacity: true)
        for (row, isChosen) in part.enumerated() where isChosen {
            let start = row * neurons
            if let columns = site.neurons {
                for column in columns { scratch.append(values[start + column]) }
            } else {
                scratch.append(contentsOf: values[start..<start + neurons])
            }
        }
        try scratch.withUnsafeBufferPointer(append)
    }

    private func append(_ values: UnsafeBufferPointer<Float>) throws {
        var rest = values[...]
        while !rest.isEmpty {
            let part = rest.prefix((rowsPerFile - rows % rowsPerFile) * site.columns)
            try open().append(UnsafeBufferPointer(rebasing: part))
            rows += part.count / site.columns
            rest = rest.dropFirst(part.count)
            if rows % rowsPerFile == 0 { try close() }
        }
    }

    private func open() throws -> SafetensorsRows {
        if let file { return file }
        let file = try SafetensorsRows(
            path: folder + ActivationLayout.array(site.place, of: name, rows / rowsPerFile),
            name: site.place.name, type: type, columns: site.columns,
            goingOnAt: rows % rowsPerFile)
        self.file = file
        return file
    }

    private func close() throws {
        try file?.commit()
        file = nil
    }

    /// Removes what was written behind the first `rows` rows in files of its own.
    func dropLater() throws {
        try removeFiles(from: (rows + rowsPerFile - 1) / rowsPerFile) {
            folder + ActivationLayout.array(site.place, of: name, $0)
        }
    }

    func sync() throws { try file?.sync() }

    /// Gives the last file its name.
    func finish() throws {
        guard rows % rowsPerFile != 0 else { return }
        _ = try open()
        try close()
    }

    /// Forgets the rows behind the first `rows`.
    func rewind(to rows: Int) {
        file = nil
        self.rows = rows
        seen = 0
    }
}

/// What the rows of a module are, in CSV files as long as those of its layers: lines that are added
/// at the end can be gone on with to the byte, and every reader takes them; a Parquet file is known
/// from its end alone. A file gets its name behind those of the layers: who finds it finds the rows.
private final class IndexFiles {
    private(set) var rows: Int
    /// Bytes of the file under way.
    private(set) var bytes: Int
    private let folder: String
    private let name: String
    private let rowsPerFile: Int
    private var file: OutputFile?
    private var buffer: [UInt8] = []

    init(module name: String, rowsPerFile: Int, in folder: String, rows: Int, bytes: Int) {
        self.name = name
        self.rowsPerFile = rowsPerFile
        self.folder = folder
        self.rows = rows
        self.bytes = bytes
    }

    /// Appends the rows of a sample that are chosen. Numbers only, written by hand: there are
    /// thousands of rows in a sample, and readers of numbers are fast.
    func append(sample: Int, _ tokens: [TokenRow], chosen: [Bool]) throws {
        for (position, token) in tokens.enumerated() where chosen[position] {
            if rows % rowsPerFile == 0, buffer.isEmpty {
                buffer += Array((ActivationLayout.columns.joined(separator: ",") + "\n").utf8)
            }
            add(sample)
            add(position)
            add(token.isImage ? 1 : 0)
            add(Int(token.place.tile))
            add(Int(token.place.row))
            add(Int(token.place.column))
            add(Int(token.token))
            add(rows / rowsPerFile)
            add(rows % rowsPerFile, ends: true)
            rows += 1
            if rows % rowsPerFile == 0 {
                try flush(of: rows / rowsPerFile - 1)
                try close()
            }
        }
        if rows % rowsPerFile != 0 { try flush(of: rows / rowsPerFile) }
    }

    private func add(_ number: Int, ends: Bool = false) {
        if number < 0 { buffer.append(UInt8(ascii: "-")) }
        var rest = number.magnitude
        var power: UInt = 1
        while rest / power >= 10 { power *= 10 }
        while power > 0 {
            buffer.append(UInt8(ascii: "0") + UInt8(rest / power))
            rest %= power
            power /= 10
        }
        buffer.append(UInt8(ascii: ends ? "\n" : ","))
    }

    private func open(_ number: Int) throws -> OutputFile {
        if let file { return file }
        let file = try OutputFile(
            path: folder + ActivationLayout.index(of: name, number), goingOnAt: bytes)
        self.file = file
        return file
    }

    private func flush(of number: Int) throws {
        try open(number).write(buffer, at: bytes)
        bytes += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }

    private func close() throws {
        try file?.commit()
        file = nil
        bytes = 0
    }

    func dropLater() throws {
        try removeFiles(from: (rows + rowsPerFile - 1) / rowsPerFile) {
            folder + ActivationLayout.index(of: name, $0)
        }
    }

    func sync() throws { try file?.sync() }

    func finish() throws {
        guard rows % rowsPerFile != 0 else { return }
        _ = try open(rows / rowsPerFile)
        let end = bytes
        try close()
        bytes = end
    }

    func rewind(to rows: Int, bytes: Int) {
        file = nil
        buffer = []
        self.rows = rows
        self.bytes = bytes
    }
}

/// The files of one domain.
final class ActivationFiles {
    private final class Module {
        let place: Int
        let name: String
        let neurons: Int
        var layers: [LayerFiles] = []
        let index: IndexFiles
        var tokens: [TokenRow] = []
        var chosen: [Bool] = []

        init(_ place: Int, _ shape: ModuleShape, index: IndexFiles) {
            self.place = place
            (name, neurons) = (shape.name, shape.neurons)
            self.index = index
        }
    }

    private let modules: [Module]
    private let layers: [ActivationSite: (module: Module, files: LayerFiles)]
    private let choice: ActivationSelection.Rows
    /// Rows and bytes of the index that are there of each module; a sample counts when it is whole.
    private(set) var held: [String: ActivationProgress.Held]

    /// - Parameters:
    ///   - rowsPerFile: of each module.
    ///   - held: what earlier runs left.
    init(
        _ selection: ActivationSelection, of shapes: [ModuleShape], type: SafetensorsType,
        rowsPerFile: [String: Int], in folder: String, held: [String: ActivationProgress.Held]
    ) throws {
        var modules: [Module] = []
        var layers: [ActivationSite: (module: Module, files: LayerFiles)] = [:]
        for site in selection.sites {
            let shape = shapes[site.place.module]
            let there = held[shape.name] ?? .init()
            let perFile = rowsPerFile[shape.name] ?? 1
            if modules.last?.place != site.place.module {
                modules.append(
                    Module(
                        site.place.module, shape,
                        index: IndexFiles(
                            module: shape.name, rowsPerFile: perFile, in: folder,
                            rows: there.rows, bytes: there.indexBytes)))
            }
            let files = LayerFiles(
                site, name: shape.name, type: type, rowsPerFile: perFile, in: folder,
                rows: there.rows)
            let module = modules[modules.count - 1]
            module.layers.append(files)
            layers[site.place] = (module, files)
        }
        self.modules = modules
        self.layers = layers
        self.held = held
        choice = selection.rows
        // A process that was killed may have begun files behind what it had committed.
        for module in modules {
            try module.index.dropLater()
            for layer in module.layers { try layer.dropLater() }
        }
    }

    /// A sample begins.
    ///
    /// - Parameter tokens: what the rows of a module are.
    func begin(tokens: (_ module: Int) -> [TokenRow]) {
        for module in modules {
            module.tokens = tokens(module.place)
            module.chosen = choice.chosen(of: module.tokens)
        }
    }

    /// The next rows [rows, neurons] of a layer.
    func take(_ site: ActivationSite, _ values: UnsafeBufferPointer<Float>) throws {
        guard let (module, files) = layers[site] else { return }
        try files.take(values, neurons: module.neurons, chosen: module.chosen)
    }

    /// The sample is whole.
    func end(sample: Int) throws {
        for module in modules {
            for layer in module.layers {
                guard layer.seen == module.tokens.count else {
                    throw InputError(
                        .failed, file: layer.site.place.name,
                        expected: "\(module.tokens.count) rows of sample \(sample)",
                        found: "\(layer.seen)")
                }
                layer.seen = 0
            }
            try module.index.append(sample: sample, module.tokens, chosen: module.chosen)
        }
        for module in modules {
            held[module.name] = .init(rows: module.index.rows, indexBytes: module.index.bytes)
        }
    }

    /// Forgets what was written of a sample that came to nothing.
    func rewind() {
        for module in modules {
            let there = held[module.name] ?? .init()
            for layer in module.layers { layer.rewind(to: there.rows) }
            module.index.rewind(to: there.rows, bytes: there.indexBytes)
        }
    }

    /// Makes what is there durable.
    func sync() throws {
        for module in modules {
            for layer in module.layers { try layer.sync() }
            try module.index.sync()
        }
    }

    /// Gives the last files their names.
    func finish() throws {
        for module in modules {
            for layer in module.layers { try layer.finish() }
            try module.index.finish()
        }
    }
}
