import ArgumentParser
import Foundation
import MMQModels

/// `mmq inspect`: what a model folder, a checkpoint, a GGUF or a safetensors file holds.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show the configuration, tensors, types and sizes of a model or file.",
        discussion: """
            Bits per weight are those of matrices, scales included: of all, of each module, and of \
            each matrix over all layers (blk.*.ffn_gate). Exits with 1 if the files can be read but are not a complete model; what is wrong is \
            listed under problems.
            """)

    @Argument(help: "A model folder, a checkpoint folder, a GGUF or a safetensors file.")
    var path: String

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        let inspection = try Inspection(path: path)
        if json {
            try Diagnostics.printJSON(inspection)
        } else {
            try printText(inspection)
        }
        if !inspection.problems.isEmpty { throw ExitCode(1) }
    }

    private func printText(_ inspection: Inspection) throws {
        print("\(inspection.path): \(inspection.kind.rawValue)", terminator: "")
        print(inspection.architecture.map { ", \($0)" } ?? "")
        if let config = inspection.config {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print("config: " + String(decoding: try encoder.encode(config), as: UTF8.self))
        }
        for file in inspection.files { printFile(file) }
        for problem in inspection.problems { print("problem: \(problem)") }
    }

    private func printFile(_ file: Inspection.File) {
        print("\n\(file.path): \(file.format), \(size(file.bytes)), \(file.tensors.count) tensors")
        let unknown = Set(file.unknownKeys)
        for entry in file.metadata {
            let mark = unknown.contains(entry.key) ? "  (unknown key)" : ""
            print("  \(entry.key) = \(entry.value.replacing("\n", with: " "))\(mark)")
        }
        let width = file.tensors.map(\.name.count).max() ?? 0
        for tensor in file.tensors {
            let name = tensor.name.padding(toLength: width, withPad: " ", startingAt: 0)
            let type = tensor.type.padding(toLength: 6, withPad: " ", startingAt: 0)
            let shape = tensor.shape.map(String.init).joined(separator: " × ")
            print("  \(name)  \(type)  \(shape)  \(size(tensor.bytes))")
        }
        for total in file.types {
            print("  \(total.type): \(total.tensors) tensors, \(size(total.bytes))")
        }
        if !file.bits.isEmpty { print("  bits per weight of the matrices") }
        for bits in file.bits {
            print("    \(bits.group): " + String(format: "%.2f", bits.bits))
        }
    }

    private func size(_ bytes: Int) -> String {
        switch bytes {
        case ..<10_000: "\(bytes) B"
        case ..<10_000_000: String(format: "%.1f kB", Double(bytes) / 1e3)
        case ..<10_000_000_000: String(format: "%.1f MB", Double(bytes) / 1e6)
        default: String(format: "%.2f GB", Double(bytes) / 1e9)
        }
    }
}
