import ArgumentParser

@main
struct MMQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmq",
        abstract: "Vision-language models on a CPU, neuron by neuron.",
        version: version,
        subcommands: [
            ConvertCommand.self, CalibrateCommand.self, RoundCommand.self, InspectCommand.self,
            AskCommand.self,
            TraceCommand.self, SessionCommand.self, ExploreCommand.self,
            ActivationCommand.self, ActivationsCommand.self,
            IdentifyCommand.self, StabilityCommand.self, NeuronsCommand.self,
            GenerateCommand.self, EvaluateCommand.self,
            ExportCommand.self, ImportCommand.self, MergeCommand.self, StatusCommand.self,
            BenchCommand.self, BenchCheckCommand.self,
            LogitLensCommand.self, DeviationCommand.self, CompareCommand.self,
            FidelityCommand.self,
            ReportCommand.self, DemoCommand.self,
        ])

    @MainActor
    static func main() async { await Diagnostics.main(MMQ.self) }
}
