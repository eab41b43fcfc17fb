import Foundation
import MMQBase
import Support
import Testing

/// What lies under a name that is written to.
@Suite struct OutputFileTests {
    @Test func linksStayLinks() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            atPath: folder("there"), withIntermediateDirectories: true)
        try folder.write("there/file", text: "old")
        let manager = FileManager.default
        try manager.createSymbolicLink(
            atPath: folder("relative"), withDestinationPath: "there/file")
        try manager.createSymbolicLink(
            atPath: folder("twice"), withDestinationPath: folder("relative"))
        try manager.createSymbolicLink(
            atPath: folder("dangling"), withDestinationPath: "there/new")
        for (link, file) in [
            ("relative", "there/file"), ("twice", "there/file"), ("dangling", "there/new"),
        ] {
            try OutputFile.write(Array(link.utf8), to: folder(link))
            #expect(try String(contentsOfFile: folder(file), encoding: .utf8) == link)
            #expect((try? manager.destinationOfSymbolicLink(atPath: folder(link))) != nil)
        }
        #expect(
            try manager.contentsOfDirectory(atPath: folder("there")).sorted() == ["file", "new"])
        try manager.createSymbolicLink(atPath: folder("self"), withDestinationPath: "self")
        #expect(throws: InputError.self) { try OutputFile.write([1], to: folder("self")) }
    }

    @Test func pipesAndDevicesAreRefused() throws {
        let folder = try TemporaryFolder()
        #expect(mkfifo(folder("pipe"), 0o600) == 0)
        try FileManager.default.createSymbolicLink(
            atPath: folder("link"), withDestinationPath: "pipe")
        for name in ["pipe", "link"] {
            #expect {
                try OutputFile.write([1], to: folder(name))
            } throws: {
                ($0 as? InputError)?.description.contains("a pipe or a device") ?? false
            }
        }
        var info = stat()
        #expect(lstat(folder("pipe"), &info) == 0 && info.st_mode & S_IFMT == S_IFIFO)
        #expect(try folder.entries() == ["link", "pipe"])
    }
}
