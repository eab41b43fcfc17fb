import Foundation
import MMQBase
import MMQImage
import MMQReport
import MMQStudy

/// The pictures that a page may ask about: those that were dropped into it, in memory, and a bench's.
final class PictureShelf: @unchecked Sendable {  // what changes is behind the lock
    /// A picture as it goes to the model, and as it is shown.
    struct Picture: Sendable {
        let image: RGBImage
        let shown: EmbeddedPicture
        /// What a command line calls it.
        let path: String
    }

    /// Dropped pictures that are kept; the oldest is forgotten first.
    private static let limit = 8

    private let lock = NSLock()
    private var dropped: [(id: String, picture: Picture)] = []
    private let bench: BenchShelf?

    init(bench: BenchShelf?) { self.bench = bench }

    /// Takes a picture's bytes; gives back what it is called, and the picture.
    ///
    /// - Parameter name: what its file is called, for errors and command lines.
    /// - Throws: what decoding throws.
    func take(_ bytes: [UInt8], name: String) throws -> (id: String, image: RGBImage) {
        let image = try bytes.withUnsafeBytes { try RGBImage.decode(bytes: $0, name: name) }
        let picture = Picture(
            image: image, shown: EmbeddedPicture(image, bytes: bytes), path: name)
        var hash = StableHash()
        hash.add(bytes)
        let id = "dropped-" + hash.digits
        lock.withLock {
            dropped.removeAll { $0.id == id }
            dropped.append((id, picture))
            if dropped.count > Self.limit { dropped.removeFirst() }
        }
        return (id, image)
    }

    /// The picture of that name: `dropped-...`, or `DOMAIN-N` for a sample of the bench.
    ///
    /// - Throws: `InputError` if it is not there or not any more.
    func picture(_ id: String) throws -> Picture {
        if let kept = lock.withLock({ dropped.first { $0.id == id }?.picture }) { return kept }
        if let sample = try bench?.sample(id) {
            guard sample.pictures.count == 1 else {
                let image = try sample.picture()
                // No single file: joined from several.
                return Picture(image: image, shown: EmbeddedPicture(image), path: "FILE")
            }
            let (image, shown) = try EmbeddedPicture.read(sample.pictures[0])
            return Picture(image: image, shown: shown, path: sample.pictures[0])
        }
        throw InputError(
            .mismatch, file: "picture", item: quoted(id), "not kept any more: drop it again")
    }
}

/// A bench's first samples, read as they are asked for.
public final class BenchShelf: @unchecked Sendable {  // what changes is behind the lock
    /// Samples of a domain that a page can reach.
    private static let limit = 240

    private let lock = NSLock()
    private var walks: [Domain: BenchSplit] = [:]
    private var samples: [Domain: [BenchSample]] = [:]

    /// Opens the domains that a bench has.
    ///
    /// - Throws: `InputError` if it has none that can be read.
    public init(bench: String, split: String, allowsOutside: Bool) throws {
        var problem: (any Error)?
        for domain in Domain.allCases {
            do {
                walks[domain] = try BenchSplit(
                    bench: bench, domain: domain, split: split, form: .simple,
                    allowsOutside: allowsOutside)
            } catch { problem = problem ?? error }
        }
        if walks.isEmpty, let problem { throw problem }
    }

    var domains: [Domain] { Domain.allCases.filter { walks[$0] != nil } }

    /// Up to `count` samples of a domain from the `first` on, wherever that is; those without pictures
    /// are passed over.
    func samples(of domain: Domain, from first: Int, count: Int) throws -> ArraySlice<BenchSample> {
        let first = min(max(0, first), Self.limit)
        return try lock.withLock {
            let end = min(Self.limit, first + count)
            while samples[domain, default: []].count < end, let item = try walks[domain]?.next() {
                if case .sample(let sample) = item { samples[domain, default: []].append(sample) }
            }
            return samples[domain, default: []][...].dropFirst(first).prefix(count)
        }
    }

    /// The sample called `DOMAIN-N`; nil if that is no sample's name.
    func sample(_ id: String) throws -> BenchSample? {
        let parts = id.split(separator: "-")
        guard parts.count == 2, let domain = Domain(rawValue: String(parts[0])),
            let place = Int(parts[1]), (0..<Self.limit).contains(place)
        else { return nil }
        return try samples(of: domain, from: place, count: 1).first
    }
}
