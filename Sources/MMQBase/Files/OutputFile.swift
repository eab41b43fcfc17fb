import Foundation

/// A file that appears under its name only when it is complete.
///
/// Bytes go to `<name>.partial` in the same folder; `commit` syncs it and renames it. A failure
/// removes the partial file; a killed process leaves it, and the next run replaces it. A link is
/// followed: the file that it names is the one that is replaced. What is no file, a pipe or a device,
/// is refused.
///
/// A file that grows over several runs is made with `goingOnAt`: its partial file outlives an error.
public final class OutputFile: @unchecked Sendable {  // the descriptor's state is behind the lock
    /// The final path.
    public let path: String
    /// The path while the file is being written.
    public let partialPath: String
    /// The path, or what it links to.
    private let target: String
    private let lock = NSLock()
    private var descriptor: Int32
    /// Whether the partial file is another run's to go on with.
    private let isKept: Bool
    /// How many large pages the file has that are to be begun, and which have been: `beginLargePages`.
    private var largePages = 0
    private var begunPages: Set<Int> = []
    private let pagesLock = NSLock()
    private lazy var zeros = [UInt8](repeating: 0, count: LargePages.size)

    /// Where a file called `path` has to be written so that links stay links.
    private static func target(of path: String) throws -> String {
        let target = try linkTarget(of: path)
        var info = stat()
        guard lstat(target, &info) == 0 else { return target }
        let kind = info.st_mode & S_IFMT
        // rename refuses a folder by itself
        guard kind == S_IFREG || kind == S_IFDIR else {
            throw InputError(
                .writeFailed, file: path, expected: "a file, or a name for a new one",
                found: "a pipe or a device")
        }
        return target
    }

    /// Creates the partial file.
    ///
    /// - Parameter mapped: how long a file will be that is going to be mapped; it is then laid in memory
    ///   so that it can be mapped by large pages, in whatever pieces it is written.
    /// - Throws: `InputError` if it cannot be created or another process is writing it.
    public convenience init(path: String, mapped: Int = 0) throws {
        try self.init(path: path, kept: nil)
        if LargePages.canBeHad(for: descriptor) { largePages = mapped / LargePages.size }
    }

    /// Opens the partial file that an earlier run left, to go on behind its first `count` bytes; where
    /// that run came to an end, they are copied from the file itself, which stays until `commit`.
    ///
    /// - Throws: `InputError`, `.truncated` if neither has as many bytes.
    public convenience init(path: String, goingOnAt count: Int) throws {
        try self.init(path: path, kept: count)
    }

    private init(path: String, kept: Int?) throws {
        self.path = path
        isKept = kept != nil
        target = try Self.target(of: path)
        try InputLedger.check(output: target, named: path)
        partialPath = target + ".partial"
        // It is emptied below: an input of that name would be lost.
        try InputLedger.check(output: partialPath)
        let descriptor = open(partialPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw InputError.system(.writeFailed, file: path, errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw InputError(.writeFailed, file: path, found: "another process writing it")
        }
        self.descriptor = descriptor
        do {
            try begin(with: kept ?? 0)
        } catch {
            if isKept { leave() } else { abandon() }
            throw error
        }
    }

    deinit { if isKept { leave() } else { abandon() } }

    /// Leaves `count` bytes in the partial file.
    private func begin(with count: Int) throws {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
        if Int(info.st_size) < count { return try copyBeginning(count) }
        guard ftruncate(descriptor, off_t(count)) == 0 else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
    }

    /// Puts the first `count` bytes of the file itself in place of what is in the partial one.
    private func copyBeginning(_ count: Int) throws {
        let source = open(target, O_RDONLY | O_CLOEXEC)
        defer { if source >= 0 { close(source) } }
        var info = stat()
        guard source >= 0, fstat(source, &info) == 0, Int(info.st_size) >= count else {
            throw InputError(
                .truncated, file: path, expected: "\(count) bytes of an earlier run",
                found: source < 0 ? "no file" : "\(info.st_size)")
        }
        guard ftruncate(descriptor, 0) == 0 else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
        var chunk = [UInt8](repeating: 0, count: min(count, 1 << 20))
        for start in stride(from: 0, to: count, by: chunk.count) {
            let size = min(chunk.count, count - start)
            try chunk.withUnsafeMutableBytes { bytes in
                let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<size])
                try read(part, at: start, from: source)
                try write(UnsafeRawBufferPointer(part), at: start)
            }
        }
    }

    /// Writes bytes at an offset. Threads may write different ranges at the same time.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        let descriptor = lock.withLock { self.descriptor }
        guard descriptor >= 0 else {
            throw InputError(.writeFailed, file: path, found: "the file already closed")
        }
        try beginLargePages(offset..<offset + bytes.count, descriptor)
        try Self.write(bytes, at: offset, to: descriptor, path)
    }

    /// Writes zeros over the large pages that a range lies in, before anything else is: Linux keeps a
    /// file in pieces of memory as long as the writes that it came by, and maps a piece of 2 MB, and of
    /// no less, by one large page. (20 per cent of the time of the writes; a conversion's are short.)
    private func beginLargePages(_ range: Range<Int>, _ descriptor: Int32) throws {
        let size = LargePages.size
        let end = min((range.upperBound + size - 1) / size, largePages)
        guard range.lowerBound / size < end else { return }
        try pagesLock.withLock {
            for page in range.lowerBound / size..<end where begunPages.insert(page).inserted {
                // What is written at once needs nothing before it.
                if range.lowerBound <= page * size, (page + 1) * size <= range.upperBound {
                    continue
                }
                try zeros.withUnsafeBytes {
                    try Self.write($0, at: page * size, to: descriptor, path)
                }
            }
        }
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, to descriptor: Int32, _ path: String
    ) throws {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let written = pwrite(descriptor, base + done, bytes.count - done, off_t(offset + done))
            if written > 0 {
                done += written
            } else if written < 0, errno == EINTR {
                continue
            } else {
                throw InputError.system(.writeFailed, file: path, written < 0 ? errno : ENOSPC)
            }
        }
    }

    /// Writes bytes at an offset.
    public func write(_ bytes: [UInt8], at offset: Int) throws {
        try bytes.withUnsafeBytes { try write($0, at: offset) }
    }

    /// A digest of the written bytes [from, to): of each 8 bytes a hash of their value and place, all
    /// added up.
    public func digest(from: Int, to: Int) throws -> UInt64 {
        let descriptor = lock.withLock { self.descriptor }
        var sum = UInt64(to - from)
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        for start in stride(from: from, to: to, by: chunk.count) {
            let count = min(chunk.count, to - start)
            try chunk.withUnsafeMutableBytes { bytes in
                for i in count..<min(count + 8, bytes.count) { bytes[i] = 0 }
                try read(.init(rebasing: bytes[..<count]), at: start, from: descriptor)
            }
            chunk.withUnsafeBytes { bytes in
                for word in 0..<(count + 7) / 8 {
                    let value = bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self)
                    let place = UInt64(truncatingIfNeeded: (start - from) / 8 + word)
                    var hash = (value ^ (place &* 0x9e37_79b9_7f4a_7c15)) &* 0xff51_afd7_ed55_8ccd
                    hash ^= hash >> 32
                    sum &+= hash &* 0xc4ce_b9fe_1a85_ec53
                }
            }
        }
        return sum
    }

    /// Fills `bytes` with what was written at an offset.
    private func read(
        _ bytes: UnsafeMutableRawBufferPointer, at offset: Int, from descriptor: Int32
    ) throws {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let got = pread(descriptor, base + done, bytes.count - done, off_t(offset + done))
            if got < 0, errno == EINTR { continue }
            guard got > 0 else {
                throw InputError.system(.writeFailed, file: path, got < 0 ? errno : EIO)
            }
            done += got
        }
    }

    /// Makes the written bytes durable without giving the file its name yet.
    public func sync() throws {
        let descriptor = lock.withLock { self.descriptor }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
    }

    /// Syncs the file and gives it its final name, replacing a file of that name.
    ///
    /// - Parameter durably: whether it must survive a power cut; a temporary file need not.
    public func commit(durably: Bool = true) throws {
        // Once more: an input may have been opened since.
        try InputLedger.check(output: target, named: path)
        if durably { try sync() }
        guard rename(partialPath, target) == 0 else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
        lock.withLock {
            close(descriptor)
            descriptor = -1
        }
        guard durably else { return }
        // The rename itself must survive a power cut. A file system that cannot sync a folder
        // still has the file, so that is no failure.
        let folder = open(
            (target as NSString).deletingLastPathComponent.orDot, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    /// Removes the partial file. Does nothing after `commit`.
    public func abandon() {
        lock.withLock {
            guard descriptor >= 0 else { return }
            unlink(partialPath)
            close(descriptor)
            descriptor = -1
        }
    }

    /// Closes the file and leaves the partial one as it is. Does nothing after `commit`.
    private func leave() {
        lock.withLock {
            guard descriptor >= 0 else { return }
            close(descriptor)
            descriptor = -1
        }
    }

    /// Writes a small file in one go.
    public static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try OutputFile(path: path)
        do {
            try file.write(bytes, at: 0)
            try file.commit()
        } catch {
            file.abandon()
            throw error
        }
    }
}

extension String {
    fileprivate var orDot: String { isEmpty ? "." : self }
}
