import Foundation
import MMQBase
import MMQReport
import MMQStudy

extension Targets {
    /// Files that a report takes: a lens over one picture, a comparison of models, formats next to a
    /// reference; of the last two the page is made too.
    static func lens() throws -> Target {
        let path = Scratch.path("input.json")
        let lens = #"""
            {"model":"m","prompt":"p","part":"block","layers":2,"positions":2,"top":2,
            "input_ids":[1,2],"is_image":[true,false],"top_ids":[[[1,2],[3,1]],[[2,1],[1,2]]],
            "top_probabilities":[[[0.5,0.25],[0.5,null]],[[1,0],[0.125,0.1]]],
            "entropies":[[0.5,1],[2,null]],"words":{"1":"a","2":"b","3":"c"}}
            """#
        let comparison = #"""
            {"samples":8,"firing":[{"module":"lang","layer":0,"pairs":20,"alike":19,"image":{"pairs":12,
            "alike":11},"text":{"pairs":8,"alike":8}},{"module":"vision","layer":0,"pairs":9,
            "alike":9}],"lens":[{"image":{"positions":6,"agreeing":5,"divergence":0.5},"text":{
            "positions":4,"agreeing":4,"divergence":0.125}}]}
            """#
        let models = #"[{"domain":"rs","comparison":"# + comparison + "}]"
        let formats =
            #"""
            {"samples":[{"domain":"rs","compared":8,"answered":8}],"reference":"f16","notes":["n"],
            "cost":{"activations":"int8","bits":16,"bytes":7361216,"fingerprint":"llava_next-3",
            "speed":{"answerSeconds":0.25,"answerTokens":56,"promptSeconds":0.5,"promptTokens":50}},
            "models":[{"name":"q8","cost":{"activations":"int8","bits":8.5,"bytes":4995776,
            "fingerprint":"llava_next-4"},"entries":[{"domain":"rs","comparison":
            """# + comparison + #"""
                ,"shifts":[{"module":"lang","layer":0,"mean":0.25,"greatest":0.5}]}],
                "neurons":[{"module":"lang","domain":"rs","jaccard":0.5,"halves":0.25},
                {"module":"lang","domain":"com"}],"answers":[{"domain":"rs","split":"val",
                "setting":"none","samples":8,"equal":7,"agreement":0.875,"interval":{"low":0.5,
                "high":1}}],"scores":[{"domain":"rs","split":"val","setting":"none",
                "form":"official","metric":"m","first":0.375,"second":0.375,"change":{
                "against":"first","clusters":8,"detectable":0.75,"difference":0,"holm":1,
                "interval":{"high":0,"low":0},"p":1,"pairs":8,"test":"exact sign test"}}]}]}
                """#
        let study = try Study(path: Scratch.path("none.sqlite"), access: .planning)
        let seeds = [lens, models, formats]
        // What seeds are for is to get in.
        for (place, seed) in seeds.enumerated() {
            try read([UInt8(place)] + Array(seed.utf8), path, study)
        }
        return Target {
            zip(["lens", "models", "formats"], seeds).enumerated().map { place, seed in
                Seed(seed.0, [UInt8(place)] + Array(seed.1.utf8))
            }
        } run: { input in
            try read(input, path, study)
        }
    }

    private static func read(_ input: [UInt8], _ path: String, _ study: Study) throws {
        guard let first = input.first else { return }
        try Scratch.write(Array(input.dropFirst()), to: path)
        func page(_ formats: [FormatFidelity], _ models: [ModelFidelity]) throws {
            _ = try ReportPage(ReportDocument(study, formats: formats, models: models)).html()
        }
        switch first % 3 {
        case 0:
            let lens = try PictureLens(file: path, top: 3, limit: 1 << 16)
            for place in lens.layers.indices.prefix(3) {
                for position in 0..<min(3, lens.positions) {
                    _ = lens.reading(place: place, position: position)
                }
            }
        case 1: try page([], [ModelFidelity(file: path)])
        default: try page([FormatFidelity(file: path)], [])
        }
    }
}
