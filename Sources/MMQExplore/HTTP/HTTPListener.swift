import Foundation
import MMQBase

/// Accepts connections on 127.0.0.1, each on a thread of its own.
///
/// Ours and not a library's: FlyingFox 0.27 takes a request's lines without a limit and in quadratic
/// time, before anybody is asked whether to answer (60 kB in one line, which any page of a browser
/// can send, stop it for minutes), and SwiftNIO would add more to a build than this page is to cost.
final class HTTPListener: @unchecked Sendable {  // what changes is behind the lock
    /// Connections at a time: threads, and memory for heads.
    private static let limit = 64

    /// The port that is listened at.
    let port: UInt16
    private let socket: Int32
    private let lock = NSLock()
    private var open = 0

    /// Listens at a port of 127.0.0.1; 0 for any that is free.
    ///
    /// - Throws: `InputError` if it cannot be had.
    init(port: UInt16) throws {
        #if os(Linux)
            let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #else
            let kind = SOCK_STREAM
        #endif
        let socket = Foundation.socket(AF_INET, kind, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        var yes: Int32 = 1
        setsockopt(
            socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                socket >= 0 && bind(socket, $0, size) == 0
                    && listen(socket, Int32(Self.limit)) == 0
                    && getsockname(socket, $0, &size) == 0
            }
        }
        guard isBound else {
            let problem = errno
            if socket >= 0 { close(socket) }
            throw InputError.system(.failed, file: "127.0.0.1:\(port)", problem)
        }
        self.socket = socket
        self.port = UInt16(bigEndian: address.sin_port)
    }

    /// Hands every connection to `serve` on a thread of its own. Does not return.
    func run(_ serve: @escaping @Sendable (HTTPConnection) -> Void) -> Never {
        while true {
            let accepted = accept(socket, nil, nil)
            guard accepted >= 0 else {
                // No descriptors left, say: they come back.
                if errno != EINTR, errno != ECONNABORTED { usleep(50_000) }
                continue
            }
            let isRoom = lock.withLock {
                guard open < Self.limit else { return false }
                open += 1
                return true
            }
            guard isRoom else {
                close(accepted)
                continue
            }
            Thread.detachNewThread { [self] in
                serve(HTTPConnection(accepted))
                lock.withLock { open -= 1 }
            }
        }
    }
}
