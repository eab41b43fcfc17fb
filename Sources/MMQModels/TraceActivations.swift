import MMQBase
import MMQFormats

/// Activations of chosen sites on their way into a trace's file.
///
/// How many rows a tower's layers have is known when it has run: until then theirs are held here, for
/// all of LLaVA-Next's tower and five tiles 1.1 GB in f32. The decoder's go to the file as they come.
final class TraceActivations {
    private let sites: [ActivationSite]
    private let modules: [ModuleShape]
    private let type: SafetensorsType
    private var held: [ActivationSite: [UInt8]] = [:]
    private var writer: SafetensorsWriter?
    /// Bytes of each site in the file.
    private var written: [ActivationSite: Int] = [:]

    /// - Precondition: `type` is F32 or F16.
    init(_ sites: [ActivationSite], of modules: [ModuleShape], as type: SafetensorsType) {
        precondition(type == .f32 || type == .f16)
        self.sites = sites
        self.modules = modules
        self.type = type
    }

    /// What takes the activations; nil if none are wanted.
    func tap() -> ActivationTap? {
        sites.tap(of: modules) { [unowned self] site, rows in
            try type.store(rows) { try append($0, to: site) }
        }
    }

    /// What the file holds of them, when the towers have run: `mlp:<module>.<layer>` [rows, neurons].
    ///
    /// - Parameters:
    ///   - decoder: the place of the decoder's module.
    ///   - tokens: the prompt's.
    func declarations(decoder: Int, tokens: Int) -> [SafetensorsWriter.Declaration] {
        sites.map { site in
            let neurons = modules[site.module].neurons
            let rows =
                site.module == decoder
                ? tokens : (held[site]?.count ?? 0) / max(1, neurons * type.byteSize)
            return .init(name: site.name, type: type, shape: [rows, neurons])
        }
    }

    /// Writes what is held, and from now on what comes.
    func flow(into writer: SafetensorsWriter) throws {
        self.writer = writer
        for (site, bytes) in held {
            try bytes.withUnsafeBytes { try write($0, of: site, to: writer) }
        }
        held = [:]
    }

    private func append(_ bytes: UnsafeRawBufferPointer, to site: ActivationSite) throws {
        if let writer {
            try write(bytes, of: site, to: writer)
        } else {
            held[site, default: []] += bytes
        }
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, of site: ActivationSite, to writer: SafetensorsWriter
    ) throws {
        let start = written[site, default: 0]
        try writer.write(site.name, bytes, at: start)
        written[site] = start + bytes.count
    }
}
