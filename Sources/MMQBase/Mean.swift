extension [Double] {
    /// The mean of all; nil of none.
    public var mean: Double? { isEmpty ? nil : reduce(0, +) / Double(count) }
}
