import ArgumentParser
import MMQModels
import MMQStudy

/// What decides whether a driving answer (`ad`) is right.
struct JudgeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The folder that mmq convert made of Lingo-Judge, which ad needs; or exact: only an "
                + "answer equal to a reference counts.", valueName: "folder"))
    var judge: String?

    /// The judge, if one was named and there is something to judge: loading takes its time.
    func open(ifNeeded needed: Bool) throws -> (any AnswerJudge)? {
        guard needed, let judge else { return nil }
        return judge == "exact" ? ExactJudge() : try LingoJudge.open(judge)
    }
}
