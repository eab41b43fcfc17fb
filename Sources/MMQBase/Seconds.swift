extension ContinuousClock {
    /// Seconds since `start`.
    public func seconds(since start: Instant) -> Double { start.duration(to: now).seconds }
}

extension Duration {
    /// As a number of seconds.
    public var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
