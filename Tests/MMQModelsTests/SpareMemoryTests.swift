import Support
import Testing

@testable import MMQModels

@Suite struct SpareMemoryTests {
    private let page = SpareMemory.page

    /// What was given back is handed on, to smaller wants too: the least that is large enough.
    @Test func handsOn() throws {
        let memory = SpareMemory()
        let small = try #require(memory.take(2 * page))
        let large = try #require(memory.take(5 * page))
        small.start.storeBytes(of: 7, as: Int.self)
        memory.give(large)
        memory.give(small)
        #expect(memory.bytes == (0, 7 * page))
        let again = try #require(memory.take(page + 1))
        #expect(again.start == small.start && again.size == 2 * page)
        let other = try #require(memory.take(2 * page))
        #expect(other.start == large.start && other.size == 5 * page)
        #expect(memory.bytes == (7 * page, 0))
        // Whatever the system did with it meanwhile: it can be written and read.
        again.start.storeBytes(of: 9, as: Int.self)
        #expect(again.start.load(as: Int.self) == 9)
        memory.give(again)
        memory.give(other)
    }

    /// With what is spare there is never more than was used at once.
    @Test func keepsNoMoreThanWasUsed() throws {
        let memory = SpareMemory()
        var random = SeededRandom(seed: 61)
        var held: [SpareMemory.Block] = []
        var most = 0
        for _ in 0..<400 {
            if held.isEmpty || held.count < 6 && Bool.random(using: &random) {
                let size = Int.random(in: 1...8, using: &random) * page
                let block = try #require(memory.take(size))
                #expect(block.size >= size)
                #expect(held.allSatisfy { $0.start != block.start })
                held.append(block)
            } else {
                memory.give(held.remove(at: held.indices.randomElement(using: &random)!))
            }
            let (used, spare) = memory.bytes
            #expect(used == held.reduce(0) { $0 + $1.size })
            most = max(most, used)
            #expect(used + spare <= most)
        }
        held.forEach(memory.give)
        // More than ever was there at once: nothing is kept beside it.
        let large = try #require(memory.take(100 * page))
        #expect(memory.bytes == (100 * page, 0))
        memory.give(large)
    }

    /// Where there is no room the answer is nil, and what is in use stays as it is.
    @Test func isOutOfMemory() throws {
        let memory = SpareMemory()
        let block = try #require(memory.take(page))
        block.start.storeBytes(of: 11, as: Int.self)
        let spare = try #require(memory.take(page))
        memory.give(spare)
        #expect(memory.take(1 << 60) == nil)
        #expect(memory.bytes == (page, 0))
        #expect(block.start.load(as: Int.self) == 11)
        memory.give(block)
    }
}
