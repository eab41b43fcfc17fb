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
            found: reason ?? (error as NSError).localizedDescription)
    }
}
