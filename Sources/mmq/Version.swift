extension MMQ {
    /// What `mmq --version` says, and `mmq.__version__` in Python: both read the one file VERSION,
    /// which is the Python package's and lies in Resources as a link.
    static let version = String(
        decoding: PackageResources.VERSION.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}
