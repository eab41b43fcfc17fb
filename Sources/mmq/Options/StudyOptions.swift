import ArgumentParser
import MMQStudy

/// Which study file.
struct StudyOptions: ParsableArguments {
    @Option(help: "The study file (SQLite).")
    var study: String

    /// Opens the study.
    func open(_ access: Study.Access) throws -> Study {
        try Study(path: study, access: access)
    }
}

/// Domains given as a list with commas, or by repeating the option.
struct DomainOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Domains, separated by commas: ad, med, rs, com, doc (default: all).",
            valueName: "list"))
    var domain: [String] = []

    /// The domains in the official order; nil if none was named.
    func chosen() throws -> [Domain]? {
        guard !domain.isEmpty else { return nil }
        let names = domain.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }
        let domains = try names.map { name in
            let name = name.filter { $0 != " " }
            guard let domain = Domain(rawValue: name) else {
                throw ValidationError(
                    "'\(name)' is not a domain. The domains are ad, med, rs, com and doc.")
            }
            return domain
        }
        return Domain.allCases.filter(domains.contains)
    }

    func validate() throws { _ = try chosen() }
}
