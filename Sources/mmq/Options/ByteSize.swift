import ArgumentParser

/// A number of bytes: `512`, `64kB`, `256MB`, `2GB`, in thousands.
struct ByteSize: ExpressibleByArgument {
    /// The bytes.
    let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        let units = [("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1)]
        let unit = units.first { argument.hasSuffix($0.0) } ?? ("", 1)
        guard let number = Int(argument.dropLast(unit.0.count)), number > 0,
            case let (bytes, overflow) = number.multipliedReportingOverflow(by: unit.1), !overflow
        else { return nil }
        self.bytes = bytes
    }

    var defaultValueDescription: String { "\(bytes / 1_000_000)MB" }
}
