import MMQModels
import MMQStudy

extension ReportPage {
    /// How neurons and scores depend on a rate.
    var sweeps: Markup {
        section("sweep", "How much the choice of a rate decides", Self.sweepIntro) {
            if document.sweeps.isEmpty {
                missing("No neuron sets that differ in one rate alone:", .sweep)
            }
            for sweep in document.sweeps { self.sweep(sweep) }
        }
    }

    private static var sweepIntro: Markup {
        Markup(
            "Neuron sets that lie side by side in the study and differ in one rate alone: their "
                + "neurons, and where answers were given under them, how the score changes (in points "
                + "of per cent) against the rate.")
    }

    @MarkupBuilder private func sweep(_ sweep: SetSweep) -> Markup {
        element(.h3) {
            sweep.rate.rawValue + " "
            element(.small) { Self.rest(of: sweep) }
        }
        legend(sweep.domains, \.rawValue)
        row(sweep.modules.map { Self.neurons($0, sweep) }, inPairs: true)
        if sweep.effects.isEmpty {
            missing("No answers under several of these sets:", .sweepAnswers)
        }
        for setting in unique(sweep.effects.map(\.setting)) {
            row(
                MetricForm.allCases.compactMap { form in
                    Self.effects(
                        sweep.effects.filter { $0.setting == setting && $0.form == form },
                        setting, form, sweep)
                }, inPairs: true)
        }
    }

    /// What the sets have in common.
    private static func rest(of sweep: SetSweep) -> String {
        let rates = Identification.Rate.allCases.filter { $0 != sweep.rate }.map {
            "\($0.rawValue) \(sweep.settings[keyPath: $0.setting])"
        }
        let positions = sweep.settings.positions
        return
            (["rule \(sweep.settings.rule.rawValue)"] + rates
            + (positions == .all ? [] : ["positions \(positions.rawValue)"]))
            .joined(separator: ", ")
    }

    private static func axis(_ sweep: SetSweep) -> LineChart.Axis {
        .init(name: sweep.rate.rawValue, labels: sweep.values.map { "\($0)" })
    }

    private static func neurons(_ module: SetSweep.Module, _ sweep: SetSweep) -> Chart {
        let name = module.module.name
        var chart = LineChart(
            title: "\(name): neurons",
            summary: "Neurons of each domain in module \(name) against the \(sweep.rate.rawValue).",
            series: zip(sweep.domains, module.neurons).map { domain, numbers in
                .init(
                    name: domain.rawValue, color: domain.colorClass, shape: domain.place,
                    values: numbers.map { $0.map(Double.init) })
            }, axis: "neurons of the domain", includes: [0],
            format: { $0.map { PageText.whole(Int($0)) } ?? "–" }, along: axis(sweep)
        ).chart
        chart.table = PageTable(
            caption: "\(name): neurons by \(sweep.rate.rawValue)",
            head: [sweep.rate.rawValue, "sets", "selected"] + sweep.domains.map(\.rawValue),
            labels: 2,
            rows: sweep.values.indices.map { place -> [String] in
                let numbers = ([module.selected] + module.neurons).map { numbers -> String in
                    numbers[place].map { PageText.whole($0) } ?? "–"
                }
                return ["\(sweep.values[place])", sweep.sets[place].joined(separator: ", ")]
                    + numbers
            })
        return chart
    }

    private static func effects(
        _ effects: [SetSweep.Effect], _ setting: String, _ form: MetricForm, _ sweep: SetSweep
    ) -> Chart? {
        guard !effects.isEmpty else { return nil }
        let title = "\(setting), \(form.rawValue): change of the score"
        func points(_ value: Double?) -> String { PageText.percent(value, 1, sign: true) }
        let spoken = effects.map { effect in
            let changes = zip(sweep.values, effect.changes).map { value, change -> String in
                "\(points(change?.difference)) at \(value)"
            }
            return "\(effect.domain.rawValue) " + changes.joined(separator: ", ")
        }
        var chart = LineChart(
            title: title,
            summary: "How scores change against the \(sweep.rate.rawValue): "
                + spoken.joined(separator: "; ") + ".",
            series: effects.map { effect in
                .init(
                    name: effect.domain.rawValue, color: effect.domain.colorClass,
                    shape: effect.domain.place,
                    values: effect.changes.map { $0.map(\.difference) })
            }, axis: "difference to no mask, points of %", includes: [0],
            format: { points($0) }, isShare: true, along: axis(sweep)
        ).chart
        chart.table = PageTable(
            caption: title,
            head: [
                "domain", "rule", sweep.rate.rawValue, "difference", "95 % interval", "pairs", "p",
                "Holm",
            ], labels: 2,
            rows: effects.flatMap { numbers(of: $0, sweep) })
        return chart
    }

    /// A line for each value.
    private static func numbers(of effect: SetSweep.Effect, _ sweep: SetSweep) -> [[String]] {
        zip(sweep.values, effect.changes).map { value, change -> [String] in
            let named = [effect.domain.rawValue, effect.metric, "\(value)"]
            guard let change else { return named + ["–", "–", "–", "–", "–"] }
            return named + [
                PageText.percent(change.difference, 2, sign: true), range(change.interval),
                PageText.whole(change.pairs), plainP(change.p),
                change.holm.map { plainP($0) } ?? "–",
            ]
        }
    }
}
