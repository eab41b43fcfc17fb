import ArgumentParser

/// The mask settings of `--masks`, separated by commas; each counts once.
///
/// - Throws: `ValidationError` if there is none.
func settingNames(_ masks: String) throws -> [String] {
    var names: [String] = []
    for name in masks.split(separator: ",").map({ $0.filter { $0 != " " } })
    where !name.isEmpty && !names.contains(name) {
        names.append(name)
    }
    guard !names.isEmpty else { throw ValidationError("--masks names no setting.") }
    return names
}
