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

    /// Pieces from several threads, in any order: the file holds them, and zeros where there were none.
    @Test func piecesOfAMappedFile() throws {
        let folder = try TemporaryFolder()
        let pieces = MappedPieces()
        try pieces.write(to: folder("pieces"), mapped: pieces.bytes.count)
        let file = try MappedFile(path: folder("pieces"))
        #expect(file.bytes.elementsEqual(pieces.bytes))
    }

    @Test(.enabled(if: LargePageProbe.kernelMapsFiles, "\(LargePageProbe.notRun)"))
    func piecesAreMappedByLargePages() throws {
        let folder = try TemporaryFolder()
        let pieces = MappedPieces()
        try pieces.write(to: folder("pieces"), mapped: pieces.bytes.count)
        #expect(try MappedPieces.largePageBytes(folder("pieces")) >= 2 << 20)
        // Else the test would say nothing.
        try pieces.write(to: folder("plain"), mapped: 0)
        #expect(try MappedPieces.largePageBytes(folder("plain")) == 0)
    }

    /// What is read from the disk comes in large pages where the mapping asks for them, whatever the
    /// writes were.
    @Test(.enabled(if: LargePageProbe.kernelMapsFiles, "\(LargePageProbe.notRun)"))
    func mappingsAskForLargePages() throws {
        let folder = try TemporaryFolder()
        try MappedPieces().write(to: folder("plain"), mapped: 0)
        try #require(LargePageProbe.forget(folder("plain")))
        #expect(try MappedPieces.largePageBytes(folder("plain"), asks: false) == 0)
        // Where memory is in small pieces the kernel may have none at the first try.
        var large = 0
        for _ in 0..<10 where large < 2 << 20 {
            try #require(LargePageProbe.forget(folder("plain")))
            large = try MappedPieces.largePageBytes(folder("plain"), asks: true)
        }
        #expect(large >= 2 << 20)
    }

    /// What an earlier run left is kept as far as is asked for, and no error takes it away.
    @Test func goesOnWithAFile() throws {
        let folder = try TemporaryFolder()
        func text(_ name: String) throws -> String {
            try String(contentsOfFile: folder(name), encoding: .utf8)
        }
        func goOn(at count: Int, writing more: String, commits: Bool) throws {
            let file = try OutputFile(path: folder("file"), goingOnAt: count)
            try file.write(Array(more.utf8), at: count)
            if commits { try file.commit() }
        }
        try goOn(at: 0, writing: "one two", commits: false)
        #expect(try folder.entries() == ["file.partial"])
        try goOn(at: 4, writing: "2", commits: false)
        #expect(try text("file.partial") == "one 2")
        try goOn(at: 5, writing: " three", commits: true)
        #expect(try text("file") == "one 2 three" && folder.entries() == ["file"])
        // From the file itself, which stays until then.
        try goOn(at: 3, writing: ", four", commits: false)
        #expect(try text("file.partial") == "one, four" && text("file") == "one 2 three")
        // The partial file is too short, the file is not.
        try goOn(at: 11, writing: "!", commits: true)
        #expect(try text("file") == "one 2 three!" && folder.entries() == ["file"])
        try folder.write("file.partial", text: "mine")
        let error = #expect(throws: InputError.self) {
            try goOn(at: 13, writing: "", commits: true)
        }
        #expect(error?.code == .truncated && error?.file == folder("file"))
        #expect(try text("file.partial") == "mine" && text("file") == "one 2 three!")
        let first = try OutputFile(path: folder("other"), goingOnAt: 0)
        #expect(throws: InputError.self) { try OutputFile(path: folder("other"), goingOnAt: 0) }
        first.abandon()
        #expect(try folder.entries() == ["file", "file.partial"])
    }
}

/// A file of random bytes with a hole, written in pieces by several threads.
private struct MappedPieces {
    /// What the file holds: three large pages and a part of one.
    let bytes: [UInt8]
    private static let piece = 300_001
    private static let hole = 5

    init() {
        var random = SeededRandom(seed: 7)
        var bytes = (0..<(6 << 20) + 12_345).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let hole = Self.piece * Self.hole
        for i in hole..<hole + Self.piece { bytes[i] = 0 }
        self.bytes = bytes
    }

    func write(to path: String, mapped: Int) throws {
        let file = try OutputFile(path: path, mapped: mapped)
        let count = (bytes.count + Self.piece - 1) / Self.piece
        DispatchQueue.concurrentPerform(iterations: count) { index in
            let first = (count - 1 - index) * Self.piece
            guard first != Self.piece * Self.hole else { return }
            let end = min(first + Self.piece, bytes.count)
            #expect(throws: Never.self) { try file.write(Array(bytes[first..<end]), at: first) }
        }
        try file.commit(durably: false)
    }

    /// How many bytes of a file are mapped by large pages once all of it was read.
    static func largePageBytes(_ path: String, asks: Bool = true) throws -> Int {
        let file = try MappedFile(path: path, largePages: asks)
        return try withExtendedLifetime(file) {
            try LargePageProbe.bytes(of: path, after: file.bytes)
        }
    }
}
