import MMQStudy

extension ReportPage {
    var scores: Markup {
        let held = document.scores
        return section("scores", "Scores with neurons switched off", Self.howToRead(held)) {
            if held.scores.isEmpty, held.problems.isEmpty {
                missing("No answers of the \(held.split) split yet:", .answers)
            } else {
                for domain in Domain.allCases {
                    let scores = held.scores.filter { $0.domain == domain }
                    if !scores.isEmpty { self.scores(domain, scores) }
                }
                for problem in held.problems {
                    element(.p, ["class": "missing"]) { foreign(problem) }
                }
                note {
                    "Intervals: percentile bootstrap over samples, \(PageText.whole(held.draws)) "
                    "draws, seed \(held.seed). Tests: exact where possible, else as many random "
                    "flips. Samples that belong together (\(Self.clusters)) are drawn and flipped "
                    "together."
                    if held.unanswered > 0 {
                        " \(PageText.whole(held.unanswered)) samples have no answer and are left "
                        "out."
                    }
                }
            }
        }
    }

    private static func howToRead(_ held: ReportScores) -> Markup {
        Markup {
            "Each dot is the score in per cent under one mask setting, its line the 95 % interval. "
            "Δ is the difference to "
            element(.b) { held.baseline }
            " over the samples that both answered, p its paired sign-flip test; full dots differ "
            "with p < 0.05. The tables add p corrected for all tests of this page (Holm) and, where p "
            "tells nothing from 0, the smallest difference that so many samples would have shown with "
            "a probability of 80 %."
            if held.scores.contains(where: { $0.setting.hasSuffix(":mean") }) {
                " A name alone switches neurons off; with :mean, next to it, they are held at their mean."
            }
        }
    }

    @MarkupBuilder private func scores(_ domain: Domain, _ scores: [Score]) -> Markup {
        let (charts, lacking) = Self.charts(domain, scores)
        element(.h3) {
            swatch(domain)
            domain.rawValue + " "
            element(.small) { "\(domain.dataSet), \(domain.subject)" }
        }
        row(charts, inPairs: true)
        for (why, rules) in lacking {
            missing("No score (\(rules.joined(separator: ", "))): \(why)")
        }
        let rows = Self.types(scores)
        if !rows.isEmpty {
            fold(
                "By type of question",
                PageTable(
                    caption: "Scores of \(domain.rawValue) by type of question, in per cent",
                    head: ["rule", "mask", "kind", "type", "score", "95 % interval", "samples"],
                    labels: 4, rows: rows))
        }
    }

    /// A chart for each rule, and the rules that have no score, by the reason why.
    private static func charts(
        _ domain: Domain, _ scores: [Score]
    ) -> (charts: [Chart], lacking: [(why: String, rules: [String])]) {
        var charts: [Chart] = []
        var lacking: [(why: String, rules: [String])] = []
        var rules: [(MetricForm, String)] = []
        for score in scores where !rules.contains(where: { $0 == (score.form, score.metric) }) {
            rules.append((score.form, score.metric))
        }
        for (form, metric) in rules {
            let rows = scores.filter { $0.form == form && $0.metric == metric }
            if rows.contains(where: { $0.score != nil }) {
                charts.append(forest(rows, domain, form, metric))
            } else {
                let why = rows.compactMap(\.missing).first ?? "no answers"
                let rule = "\(form.rawValue): \(metric)"
                if let known = lacking.firstIndex(where: { $0.why == why }) {
                    lacking[known].rules.append(rule)
                } else {
                    lacking.append((why, [rule]))
                }
            }
        }
        return (charts, lacking)
    }

    private static func forest(
        _ scores: [Score], _ domain: Domain, _ form: MetricForm, _ metric: String
    ) -> Chart {
        let rows = scores.map { score in
            ForestChart.Row(
                name: score.setting, value: score.score?.value, interval: score.score?.interval,
                cells: [
                    PageText.percent(score.score?.value),
                    score.change.map { PageText.percent($0.difference, sign: true) } ?? "",
                    score.change.map { Self.shortP($0.p) } ?? "",
                ], isFull: (score.change?.p ?? 1) < 0.05, note: score.missing)
        }
        let base = scores.first { $0.change == nil && $0.score != nil }?.score?.value
        let table = PageTable(
            caption: "\(domain.rawValue), \(form.rawValue): \(metric), in per cent",
            head: [
                "mask", "score", "95 % interval", "samples", "difference", "95 % interval",
                "pairs", "p", "Holm", "could show", "test",
            ],
            rows: scores.map { score in
                [
                    score.setting, PageText.percent(score.score?.value, 2),
                    range(score.score?.interval),
                    score.score.map { size($0.samples, $0.clusters) } ?? score.missing ?? "–",
                    PageText.percent(score.change?.difference, 2, sign: true),
                    range(score.change?.interval),
                    score.change.map { size($0.pairs, $0.clusters) } ?? "–",
                    score.change.map { plainP($0.p) } ?? "–",
                    score.change?.holm.map { plainP($0) } ?? "–",
                    score.change.flatMap { $0.p < 0.05 ? nil : $0.detectable }
                        .map { PageText.percent($0, 2) } ?? "–",
                    score.change?.test.rawValue ?? "–",
                ]
            })
        let spoken = scores.map {
            "\($0.setting) \(PageText.percent($0.score?.value)) %"
        }
        return ForestChart(
            title: "\(form.rawValue): \(metric)",
            summary: "Scores of \(domain.rawValue) by mask setting: "
                + spoken.joined(separator: ", ") + ".",
            heads: ["score", "Δ", "p"], rows: rows, baseline: base,
            color: domain.colorClass, table: table
        ).chart
    }

    /// A row for each type of question.
    private static func types(_ scores: [Score]) -> [[String]] {
        var rows: [[String]] = []
        for score in scores {
            if let average = score.average {
                rows.append([
                    score.form.rawValue, score.setting, "mean of types", "",
                    PageText.percent(average.value, 2), range(average.interval),
                    PageText.whole(average.samples),
                ])
            }
            for group in score.groups {
                rows.append([
                    score.form.rawValue, score.setting, group.kind, group.name,
                    PageText.percent(group.score.value, 2), range(group.score.interval),
                    PageText.whole(group.score.samples),
                ])
            }
        }
        return rows
    }

    /// Samples, and the groups that they fall into.
    private static func size(_ samples: Int, _ clusters: Int) -> String {
        PageText.whole(samples)
            + (clusters == samples ? "" : " in \(PageText.whole(clusters)) groups")
    }

    /// By what samples of the data sets belong together.
    private static let clusters = Domain.allCases.compactMap { domain in
        domain.clusterKey.map { "\(domain.rawValue): \($0)" }
    }.joined(separator: ", ")

    static func range(_ interval: Interval?, places: Int = 2) -> String {
        guard let interval else { return "–" }
        return PageText.percent(interval.low, places) + " … "
            + PageText.percent(interval.high, places)
    }

    static func plainP(_ p: Double) -> String {
        p < 0.0001 ? "< 0.0001" : PageText.number(p, 4)
    }

    static func shortP(_ p: Double) -> String { p < 0.001 ? "<.001" : PageText.number(p, 3) }
}
