import MMQBase
import MMQFormats
import MMQModels

/// What made a pass's neurons fire as a safetensors file: see `StudyExport`.
enum MomentFile {
    static func write(
        _ held: PassMoments, of pass: PassState, modules: [ModuleShape], to file: String
    ) throws {
        let edges = MomentHistogram.edges
        let tensors = modules.flatMap { module -> [SafetensorsWriter.Declaration] in
            let kept = [module.layers, module.neurons, held.keep]
            return [
                .init(name: module.name + "_top", type: .f32, shape: kept),
                .init(name: module.name + "_sample", type: .i64, shape: kept),
                .init(name: module.name + "_token", type: .i64, shape: kept),
                .init(
                    name: module.name + "_above", type: .i64,
                    shape: [module.layers, edges.count, module.neurons]),
                .init(name: module.name + "_len", type: .i64, shape: [1]),
            ]
        }
        let writer = try SafetensorsWriter(
            path: file, tensors: tensors + [.init(name: "edges", type: .f32, shape: [edges.count])],
            metadata: [
                "domain": pass.domain.rawValue, "split": pass.split, "keep_top": String(held.keep),
            ])
        do {
            for (module, layers) in zip(modules, held.layers) {
                func places(_ numbers: (PassMoments.Layer) -> [UInt32]) -> [Int64] {
                    layers.flatMap { layer in
                        // No sample and no token where there is no activation.
                        layer.byNeuron(
                            zip(layer.activations, numbers(layer)).map {
                                $0 == -.infinity ? -1 : Int64($1)
                            })
                    }
                }
                try writer.write(
                    module.name + "_top", layers.flatMap { $0.byNeuron($0.activations) })
                try writer.write(module.name + "_sample", places(\.samples))
                try writer.write(module.name + "_token", places(\.places))
                try writer.write(
                    module.name + "_above", layers.flatMap { $0.above.map(Int64.init) })
                try writer.write(module.name + "_len", [layers.first?.tokens ?? 0])
            }
            try writer.write("edges", edges)
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }
}
