import MMQBase
import MMQFormats
import MMQModels

/// Counts in blocks as a safetensors file: see `StudyExport`.
enum BlockFile {
    static func write(
        _ held: PassCounts, of pass: PassState, modules: [ModuleShape], to file: String
    ) throws {
        let parts = held.sums.keys.sorted {
            ($0.module, $0.positions.rawValue) < ($1.module, $1.positions.rawValue)
        }
        let blocks = held.samples.keys.sorted()
        var tensors = [
            SafetensorsWriter.Declaration(name: "samples", type: .i64, shape: [blocks.count])
        ]
        for part in parts {
            let module = modules[part.module]
            let name = "\(module.name)_\(part.positions.rawValue)"
            let shape = [module.layers, module.neurons]
            tensors += [
                .init(name: name + "_log", type: .i64, shape: [blocks.count] + shape),
                .init(name: name + "_len", type: .i64, shape: [blocks.count]),
                .init(name: name + "_value", type: .f64, shape: shape),
                .init(name: name + "_square", type: .f64, shape: shape),
                .init(name: name + "_max", type: .f32, shape: shape),
            ]
        }
        let writer = try SafetensorsWriter(
            path: file, tensors: tensors,
            metadata: [
                "domain": pass.domain.rawValue, "split": pass.split, "blocks": String(pass.blocks),
            ])
        do {
            try writer.write("samples", blocks.map { Int64(held.samples[$0] ?? 0) })
            for part in parts {
                let module = modules[part.module]
                let name = "\(module.name)_\(part.positions.rawValue)"
                let none = [Int64](repeating: 0, count: module.layers * module.neurons)
                let fired = blocks.map { held.fired[$0]?[part] }
                try writer.write(
                    name + "_log", fired.flatMap { $0?.counts.map(Int64.init) ?? none })
                try writer.write(name + "_len", fired.map { $0?.tokens ?? 0 })
                if let sums = held.sums[part] {
                    try writer.write(name + "_value", sums.sums.doubles)
                    try writer.write(name + "_square", sums.squares.doubles)
                    try writer.write(name + "_max", sums.maxima)
                }
            }
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }
}
