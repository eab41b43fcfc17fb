import Foundation

/// Lines of a file descriptor, as they come.
struct SessionInput {
    /// Longer lines are refused: as long as a mask file may be.
    static let longestLine = 64 << 20

    enum Line {
        case bytes([UInt8])
        /// A line that is too long; it was passed over.
        case tooLong
    }

    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var isSkipping = false
    private var isAtEnd = false

    init(descriptor: Int32) { self.descriptor = descriptor }

    /// The next line without its end; nil when there are no more. Empty lines are left out.
    mutating func next() -> Line? {
        var searched = 0
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(buffer[..<end])
                buffer.removeFirst(end + 1)
                searched = 0
                // Its end may come with the bytes that make it too long.
                if isSkipping || line.count > Self.longestLine {
                    isSkipping = false
                    return .tooLong
                }
                if line.allSatisfy({ [0x20, 0x09, 0x0d].contains($0) }) { continue }
                return .bytes(line)
            }
            if buffer.count > Self.longestLine || isSkipping {
                isSkipping = true
                buffer = []
            }
            searched = buffer.count
            guard !isAtEnd, read() else {
                isAtEnd = true
                defer { buffer = [] }
                if isSkipping {
                    isSkipping = false
                    return .tooLong
                }
                let isEmpty = buffer.allSatisfy { [0x20, 0x09, 0x0d].contains($0) }
                return isEmpty ? nil : .bytes(buffer)
            }
        }
    }

    /// Appends what there is; false at the end.
    private mutating func read() -> Bool {
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Foundation.read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            buffer += part[..<count]
            return true
        }
    }
}
