import OrderedCollections

/// A JSON object: its members in order, found by the bytes of their keys.
public struct JSONObject: Sendable, Equatable {
    private var table: OrderedDictionary<Key, JSONValue> = [:]

    /// A key, equal to another one only byte by byte.
    private struct Key: Hashable {
        let text: String

        static func == (a: Key, b: Key) -> Bool { sameBytes(a.text, b.text) }

        func hash(into hasher: inout Hasher) {
            var text = text
            text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    /// An empty object.
    public init() {}

    /// An object of these members; of equal keys the last value counts.
    public init(_ members: some Sequence<(String, JSONValue)>) {
        for (key, value) in members { set(key, value) }
    }

    /// The value of `key`, or nil.
    public subscript(key: String) -> JSONValue? { table[Key(text: key)] }

    /// The number of members.
    public var count: Int { table.count }

    /// The keys in order.
    public var keys: [String] { table.keys.map(\.text) }

    /// The members in order.
    public var members: [(key: String, value: JSONValue)] {
        table.elements.map { ($0.key.text, $0.value) }
    }

    /// Adds a member; false if the key is already there, which keeps its place and gets the value.
    @discardableResult
    public mutating func set(_ key: String, _ value: JSONValue) -> Bool {
        table.updateValue(value, forKey: Key(text: key)) == nil
    }
}

/// Whether two texts are the same byte by byte, not only canonically equivalent.
@inlinable
public func sameBytes(_ a: String, _ b: String) -> Bool {
    // Same bytes are equal strings, and unequal ones are told apart fastest by Swift.
    a.utf8.count == b.utf8.count && a == b && a.utf8.elementsEqual(b.utf8)
}
