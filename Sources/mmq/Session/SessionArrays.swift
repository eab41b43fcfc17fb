import Foundation
import MMQBase
import MMQFormats
import MMQModels

/// Activations of one request's sites, a file for each, in the session's folder.
final class SessionArrays {
    private let sites: [ActivationSite]
    private let modules: [ModuleShape]
    private let folder: SessionFolder
    private let type: SafetensorsType
    private var files: [ActivationSite: SafetensorsRows] = [:]
    private var isCommitted = false

    init(
        _ sites: [ActivationSite], of modules: [ModuleShape], in folder: SessionFolder,
        as type: SafetensorsType
    ) {
        self.sites = sites
        self.modules = modules
        self.folder = folder
        self.type = type
    }

    deinit { abandon() }

    /// What takes the activations; nil if none are wanted.
    func tap() -> ActivationTap? {
        sites.tap(of: modules) { [unowned self] in try file($0).append($1) }
    }

    /// A site's file, made when its first rows come.
    private func file(_ site: ActivationSite) throws -> SafetensorsRows {
        if let file = files[site] { return file }
        let file = try folder.makeFile {
            try SafetensorsRows(
                path: $0, name: site.name, type: type, columns: modules[site.module].neurons)
        }
        files[site] = file
        return file
    }

    /// Completes the files; what the client is told of each.
    func commit() throws -> [JSONValue] {
        let told = try sites.map { site in
            let file = try file(site)
            try file.commit(durably: false)
            return JSONValue.object(
                JSONObject([
                    ("site", .string(site.name)),
                    ("module", .string(modules[site.module].name)),
                    ("layer", .integer(site.layer)),
                    ("file", .string(file.path)),
                    ("dtype", .string(type.rawValue)),
                    ("shape", .array([.integer(file.rows), .integer(file.columns)])),
                ]))
        }
        isCommitted = true
        return told
    }

    /// Removes what was written, if the request came to nothing.
    func abandon() {
        guard !isCommitted else { return }
        isCommitted = true
        for file in files.values {
            file.abandon()
            unlink(file.path)
        }
    }
}
