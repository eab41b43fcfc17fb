import MMQStudy

extension ReportPage {
    /// What every set does on every bench, and effects among those of chance.
    var claims: Markup {
        let held = document.scores
        return section("claims", "Specific to what, and against what chance", Self.claimsIntro) {
            if held.matrices.isEmpty {
                missing("Not every set was tried on every bench:", .matrix)
            }
            for form in MetricForm.allCases {
                row(held.matrices.filter { $0.form == form }.map(Self.map), inPairs: true)
            }
            if held.controls.isEmpty {
                missing("No numbered controls:", .controls)
            }
            for domain in Domain.allCases {
                row(
                    MetricForm.allCases.compactMap { form in
                        Self.strip(
                            held.controls.filter { $0.domain == domain && $0.form == form }, domain,
                            form)
                    }, inPairs: true)
            }
        }
    }

    private static var claimsIntro: Markup {
        Markup {
            "Maps: how a domain's score changes (in points of per cent) when a domain's neurons are "
            "masked, every set on every bench; * p < 0.05. A set is specific where its own domain "
            "(framed) drops more than the others: spec. is its drop less their mean drop. Below, "
            "each effect (full) among those of as many neurons drawn by chance (hollow); p is the "
            "part of the draws, the set itself counted among them, under which the score drops at "
            "least as much."
        }
    }

    private static func map(_ matrix: SetMatrix) -> Chart {
        let benches = matrix.benches.map(\.rawValue)
        func points(_ value: Double?) -> String { PageText.percent(value, 1, sign: true) }
        let table = PageTable(
            caption: "\(matrix.setting), \(matrix.form.rawValue): difference to no mask",
            head: [
                "neurons of", "questions of", "difference", "95 % interval", "pairs", "p", "Holm",
            ], labels: 2,
            rows: matrix.rows.flatMap { numbers(of: $0, benches) })
        let texts = matrix.rows.map { row -> [String] in
            let cells = row.changes.map { change -> String in
                points(change?.difference) + ((change?.p ?? 1) < 0.05 ? "*" : "")
            }
            return cells + [""]
        }
        let specific = matrix.rows.map { row -> String in
            guard let found = row.specificity else { return "–" }
            return points(found.value) + (found.p < 0.05 ? "*" : "")
        }
        let spoken = matrix.rows.map { row -> String in
            let cells = zip(benches, row.changes).map { "\($0) \(points($1?.difference))" }
            return "\(row.domain.rawValue) neurons " + cells.joined(separator: ", ")
        }
        return HeatMap(
            title: "\(matrix.setting), \(matrix.form.rawValue)",
            summary: "How each domain's score changes under each domain's neurons: "
                + spoken.joined(separator: "; ") + ".",
            axes: ("neurons", "questions of"),
            rows: matrix.rows.map(\.domain.rawValue), columns: benches + ["spec."],
            values: matrix.rows.map { $0.changes.map { $0.map(\.difference) } + [nil] },
            texts: texts,
            framed: { row, column in
                column < matrix.benches.count && matrix.rows[row].domain == matrix.benches[column]
            },
            specific: specific, table: table
        ).chart
    }

    /// A line for each bench, and one for the specificity.
    private static func numbers(of row: SetMatrix.Row, _ benches: [String]) -> [[String]] {
        let own = row.specificity
        let lines = zip(benches, row.changes).map { bench, change -> [String] in
            [
                row.domain.rawValue, bench, PageText.percent(change?.difference, 2, sign: true),
                range(change?.interval), change.map { PageText.whole($0.pairs) } ?? "–",
                change.map { plainP($0.p) } ?? "–", "–",
            ]
        }
        let last = [
            row.domain.rawValue, "specificity", PageText.percent(own?.value, 2, sign: true),
            range(own?.interval), "–", own.map { plainP($0.p) } ?? "–",
            own?.holm.map { plainP($0) } ?? "–",
        ]
        return lines + [last]
    }

    private static func strip(
        _ tests: [ControlTest], _ domain: Domain, _ form: MetricForm
    ) -> Chart? {
        guard !tests.isEmpty else { return nil }
        func points(_ value: Double?, _ places: Int = 1) -> String {
            PageText.percent(value, places, sign: true)
        }
        func name(_ test: ControlTest) -> String {
            test.control == "random" ? test.setting : "\(test.setting), \(test.control)"
        }
        return ForestChart(
            title: "\(domain.rawValue), \(form.rawValue): among chance",
            summary: "Effects among those of controls: "
                + tests.map { "\(name($0)) \(points($0.difference)), p \(plainP($0.p))" }
                .joined(separator: "; ") + ".",
            heads: ["Δ", "p"],
            rows: tests.map {
                .init(
                    name: name($0), value: $0.difference, others: $0.controls,
                    cells: [points($0.difference), shortP($0.p)])
            }, baseline: 0, color: domain.colorClass,
            table: PageTable(
                caption: "\(domain.rawValue), \(form.rawValue): effects among those of controls",
                head: [
                    "mask", "controls", "difference", "theirs: mean", "least", "greatest",
                    "drops more than", "p", "Holm",
                ],
                rows: tests.map { test in
                    [
                        test.setting, "\(test.controls.count) \(test.control)",
                        points(test.difference, 2),
                        points(test.controls.reduce(0, +) / Double(test.controls.count), 2),
                        points(test.controls.min(), 2), points(test.controls.max(), 2),
                        PageText.percent(test.percentile, 0) + " %", plainP(test.p),
                        test.holm.map { plainP($0) } ?? "–",
                    ]
                }), span: 0.05
        ).chart
    }
}
