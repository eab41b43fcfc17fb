import Foundation

/// Makes a folder, and those above it, unless it is there.
///
/// - Throws: `InputError`, `.writeFailed`, with the system's reason.
public func makeFolder(_ path: String) throws {
    do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
        let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        let reason = cause.map { String(cString: strerror(Int32($0.code))) }
        throw InputError(
            .writeFailed, file: path, expected: "a folder that can be made",
            found: reason ?? obstacle(to: path) ?? (error as NSError).localizedDescription)
    }
}

/// What lies where a folder was to be made, or above it; nil if nothing does.
private func obstacle(to path: String) -> String? {
    var path = path
    while !path.isEmpty, path != "/" {
        if isLink(path), !exists(path) { return "\(path), a link to nothing" }
        if isFolder(path) == false { return "\(path), which is no folder" }
        path = (path as NSString).deletingLastPathComponent
    }
    return nil
}
