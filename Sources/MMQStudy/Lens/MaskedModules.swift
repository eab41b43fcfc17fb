import MMQModels

/// Which modules a mask setting names: one name or several joined with `+`.
///
/// `none`, `all`, and the modules' names; `vision` always takes `mmproj` along and `qformer`
/// `query`, as in the official code.
enum MaskedModules {
    /// The modules of a setting, in the model's order; empty for `none`.
    static func names(
        _ setting: String, among modules: [ModuleShape], file: String
    ) throws -> [String] {
        if setting == "none" { return [] }
        if setting == "all" { return modules.map(\.name) }
        var names: Set<String> = []
        for part in setting.split(separator: "+", omittingEmptySubsequences: false) {
            let name = String(part)
            guard modules.contains(where: { $0.name == name }) else {
                let known = modules.map(\.name).joined(separator: ", ")
                throw StudyError(
                    .mismatch, file: file, key: setting,
                    "'\(name)' is not a module; settings are none, all, or of \(known)")
            }
            names.insert(name)
            if name == "vision" { names.insert("mmproj") }
            if name == "qformer" { names.insert("query") }
        }
        return modules.map(\.name).filter(names.contains)
    }
}
