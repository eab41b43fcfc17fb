import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

@testable import MMQStudy

@Suite struct IdentificationTests {
    @Test func setsEqualTheDefinition() throws {
        for (number, golden) in try Golden.json("study/dape.json").list().enumerated() {
            let shape = ModuleShape(
                name: "lang", layers: try #require(golden["layers"]?.integer),
                neurons: try #require(golden["neurons"]?.integer))
            let tokens = try golden.at("tokens").integers()
            let counts = try golden.at("counts").list().enumerated().map { domain, list in
                var counts = ModuleCounts(shape: shape)
                counts.counts = try list.integers().map(Int64.init)
                counts.tokens = Int64(tokens[domain])
                return (domain: Domain.allCases[domain], counts: counts)
            }
            let rates = try golden.at("rates").list().map { value -> Double in
                if case .number(let number) = value { return number }
                return Double(try #require(value.integer))
            }
            let found = try Identification(
                counts: counts.reversed(),
                settings: .init(topRate: rates[0], filterRate: rates[1], activationBar: rates[2]))
            #expect(found.filterThreshold == (try golden.at("filter_threshold").double()))
            #expect(found.activationThreshold == (try golden.at("activation_threshold").double()))
            #expect(found.selected == golden["selected"]?.integer)
            #expect(found.domains == Array(Domain.allCases.prefix(tokens.count)))
            let sets = try golden.at("sets").list().map { try $0.list().map { try $0.integers() } }
            #expect(found.neurons == sets, "case \(number)")
        }
    }

    private func counts(_ domain: Domain, _ numbers: [Int64], tokens: Int64) -> (
        domain: Domain, counts: ModuleCounts
    ) {
        var counts = ModuleCounts(
            shape: ModuleShape(name: "lang", layers: 1, neurons: numbers.count))
        counts.counts = numbers
        counts.tokens = tokens
        return (domain, counts)
    }

    @Test func whatCannotBeComparedIsAnError() {
        let full = counts(.ad, [1, 2], tokens: 2)
        #expect(throws: InputError.self) { try Identification(counts: [full]) }
        #expect(throws: InputError.self) {
            try Identification(counts: [full, counts(.med, [0, 0], tokens: 0)])
        }
        #expect(throws: InputError.self) {
            try Identification(counts: [full, counts(.med, [0], tokens: 1)])
        }
        let settings = Identification.Settings(filterRate: 0.01)
        #expect(throws: InputError.self) {
            try Identification(
                counts: [full, counts(.med, [1, 1], tokens: 2)], settings: settings)
        }
    }

    @Test func tiesGoToTheLowerIndex() throws {
        let ad = counts(.ad, [9, 0, 9, 0, 9, 0], tokens: 10)
        let med = counts(.med, [0, 9, 0, 9, 0, 0], tokens: 10)
        let found = try Identification(
            counts: [ad, med],
            settings: .init(topRate: 0.5, filterRate: 0.25, activationBar: 0.25))
        #expect(found.neurons == [[[0, 2]], [[1]]])
    }
}
