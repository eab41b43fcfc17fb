import MMQBase

extension PixelSize {
    /// The size of a JPEG or PNG file, from its header: no pixel is decoded, and little of the file
    /// is read.
    ///
    /// - Throws: ``InputError`` naming the file: unreadable, no picture, a format not read here, cut
    ///   short before its size, or empty. A picture that is broken further on is not noticed.
    public init(ofPicture path: String) throws {
        var header = try HeaderReader(path: path)
        let format = try header.window.withUnsafeBytes {
            try PictureFormat.recognize($0, name: path)
        }
        let size =
            switch format {
            case .png: try header.png()
            case .jpeg: try header.jpeg()
            }
        guard size.width > 0, size.height > 0 else {
            throw InputError(
                .empty, file: path, expected: "at least one row and one column", found: "\(size)")
        }
        self = size
    }
}

/// Reads a picture's header, a few kilobytes at a time.
private struct HeaderReader {
    let file: InputFile
    /// Bytes from `start` on; at the beginning more than tells a format apart.
    private(set) var window: [UInt8]
    private var start = 0

    init(path: String) throws {
        file = try InputFile(path: path)
        window = try file.bytes(at: 0, count: min(256, file.count))
    }

    private mutating func byte(_ at: Int) throws -> Int {
        if at < start || at >= start + window.count {
            guard at < file.count else {
                throw InputError(
                    .truncated, file: file.path, offset: file.count,
                    expected: "a whole picture", found: "the end before its size")
            }
            start = at
            window = try file.bytes(at: at, count: min(4096, file.count - at))
        }
        return Int(window[at - start])
    }

    /// A big-endian number.
    private mutating func number(_ at: Int, bytes: Int) throws -> Int {
        var value = 0
        for i in 0..<bytes { value = try value << 8 | byte(at + i) }
        return value
    }

    /// IHDR is the first chunk: width and height stand behind its name.
    mutating func png() throws -> PixelSize {
        guard try number(12, bytes: 4) == 0x4948_4452 else {
            throw InputError(
                .badHeader, file: file.path, offset: 12, expected: "the chunk IHDR",
                found: "another chunk")
        }
        return PixelSize(height: try number(20, bytes: 4), width: try number(16, bytes: 4))
    }

    /// The frame header's: precision, height, width. Segments before it are passed over.
    mutating func jpeg() throws -> PixelSize {
        var at = 2
        while true {
            while try byte(at) != 0xFF { at += 1 }
            while try byte(at) == 0xFF { at += 1 }
            let marker = try byte(at)
            at += 1
            // Stuffing, and markers that have no segment.
            if marker == 0 || marker == 0x01 || (0xD0...0xD9).contains(marker) { continue }
            if (0xC0...0xCF).contains(marker), ![0xC4, 0xC8, 0xCC].contains(marker) {
                return PixelSize(
                    height: try number(at + 3, bytes: 2), width: try number(at + 5, bytes: 2))
            }
            at += max(2, try number(at, bytes: 2))
        }
    }
}
