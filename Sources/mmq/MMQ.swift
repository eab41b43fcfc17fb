import ArgumentParser

@main
struct MMQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmq", subcommands: [ConvertCommand.self, InspectCommand.self])
}
