import Foundation
import MMQBase

/// Where the tensors of a file under construction lie, and how much of each is written. Threads may
/// write at the same time.
final class TensorPlaces: @unchecked Sendable {  // counters are behind the lock
    private let file: String
    private let lock = NSLock()
    private var places: [String: (offset: Int, count: Int, written: Int)] = [:]

    /// Places for tensors whose offsets count from `start`; every name must be there once.
    init(
        _ tensors: [(name: String, offset: Int, count: Int)], from start: Int, file: String
    ) throws {
        self.file = file
        for (name, offset, count) in tensors {
            let place = (offset: start + offset, count: count, written: 0)
            guard places.updateValue(place, forKey: name) == nil else {
                throw InputError(.duplicate, file: file, item: tensorItem(name))
            }
        }
    }

    /// Counts `count` bytes from `byte` of a tensor as written; gives their place in the file.
    func take(_ name: String, _ count: Int, at byte: Int) throws -> Int {
        try lock.withLock {
            guard let place = places[name], byte >= 0, byte <= place.count,
                count <= place.count - byte
            else {
                throw InputError(
                    .badShape, file: file, item: tensorItem(name),
                    expected: "\(places[name]?.count ?? 0) bytes",
                    found: "\(count) bytes from byte \(byte)")
            }
            places[name]?.written += count
            return place.offset + byte
        }
    }

    /// Checks that every byte was written.
    func checkComplete() throws {
        try lock.withLock {
            for (name, place) in places where place.written != place.count {
                throw InputError(
                    .writeFailed, file: file, item: tensorItem(name),
                    expected: "\(place.count) bytes", found: "\(place.written) written")
            }
        }
    }
}
