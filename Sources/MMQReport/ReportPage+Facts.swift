import MMQStudy

extension ReportPage {
    var facts: Markup {
        let facts = document.facts
        return section("facts", "The run") {
            element(.dl, ["class": "facts"]) {
                fact("study") {
                    foreign(facts.file)
                    ", \(PageText.size(facts.bytes))"
                }
                if let changed = facts.changed { fact("last changed") { changed } }
                fact("report made") { document.made }
                fact("model") {
                    if let model = facts.fingerprint { code(model) } else { "none" }
                }
                weights(facts)
                let modules = facts.modules.map {
                    "\($0.name) \(PageText.whole($0.layers)) × \(PageText.whole($0.neurons))"
                }
                if !modules.isEmpty { fact("modules") { modules.joined(separator: ", ") } }
                fact("layout") { "report \(document.version)" }
            }
            samples(facts)
            redo
        }
    }

    private func fact(_ name: String, @MarkupBuilder _ content: () -> Markup) -> Markup {
        Markup {
            element(.dt) { name }
            element(.dd, [:], content)
        }
    }

    @MarkupBuilder private func weights(_ facts: ReportFacts) -> Markup {
        if let model = facts.model {
            fact("weights") {
                model.weights.map {
                    "\($0.file) \($0.type): \(PageText.whole($0.tensors)) tensors, "
                        + PageText.size($0.bytes)
                }.joined(separator: "; ")
            }
        } else if facts.fingerprint != nil, let options = commands.filling[.weights] {
            fact("weights") {
                "types are shown with "
                code(options)
            }
        }
    }

    @MarkupBuilder private func samples(_ facts: ReportFacts) -> Markup {
        if !facts.passes.isEmpty { fold("Counted samples", Self.passes(facts.passes)) }
        if !facts.answers.isEmpty { fold("Answers", Self.answers(facts.answers)) }
        if !facts.lensPasses.isEmpty { fold("Lens and deviation", Self.lens(facts.lensPasses)) }
    }

    private static func passes(_ passes: [PassState]) -> PageTable {
        PageTable(
            caption: "Counting passes",
            head: [
                "domain", "split", "prompt", "annotations", "samples", "vision tokens",
                "without picture", "missing frames",
            ], labels: 4,
            rows: passes.map {
                [
                    $0.domain.rawValue, $0.split, $0.form.rawValue, $0.bench,
                    PageText.whole($0.samples), PageText.whole($0.visionTokens),
                    PageText.whole($0.skipped), PageText.whole($0.missingFrames),
                ]
            })
    }

    private static func answers(_ sets: [ReportFacts.Answers]) -> PageTable {
        PageTable(
            caption: "Sets of answers",
            head: [
                "domain", "split", "mask", "annotations", "options", "neurons off",
                "answered", "without answer",
            ], labels: 5,
            rows: sets.map {
                [
                    $0.domain.rawValue, $0.split, $0.setting, $0.bench, $0.options,
                    PageText.whole($0.neuronsOff), PageText.whole($0.answered),
                    PageText.whole($0.unanswered),
                ]
            })
    }

    private static func lens(_ passes: [LensPass]) -> PageTable {
        PageTable(
            caption: "Passes of the lens and of the deviation",
            head: [
                "measured", "domain", "split", "mask", "annotations", "options",
                "samples", "without picture",
            ], labels: 6,
            rows: passes.map {
                [
                    $0.kind.rawValue, $0.domain.rawValue, $0.split, $0.setting, $0.bench,
                    $0.options, PageText.whole($0.samples), PageText.whole($0.skipped),
                ]
            })
    }

    @MarkupBuilder private var redo: Markup {
        if !commands.redo.isEmpty {
            element(.h3) { "How to redo it" }
            element(.pre, ["tabindex": "0"]) { code(commands.redo.joined(separator: "\n")) }
            if !commands.redoNote.isEmpty { note { commands.redoNote } }
        }
    }
}
