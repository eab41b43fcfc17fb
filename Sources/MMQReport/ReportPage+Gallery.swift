import Foundation
import MMQModels
import MMQStudy

extension ReportPage {
    var gallery: Markup {
        section(
            "gallery", "Neurons one by one",
            Markup(
                "Of every domain the least evenly active neurons of each module, "
                    + "\(ReportGallery.neuronsEach) at most: where they fire most in the domain's "
                    + "samples, how all their activations are distributed, and for the decoder's "
                    + "the words that they make more and less likely.")
        ) {
            if let gallery = document.gallery {
                gaps(gallery)
                definitions(gallery)
                for domain in Domain.allCases {
                    cards(gallery.neurons.filter { $0.domain == domain }, of: domain, gallery)
                }
            } else if document.modules.contains(where: \.isIdentified) {
                note { "Left out (--gallery-size 0)." }
            } else {
                missing("No neuron sets yet:", .neurons)
            }
        }
    }

    @MarkupBuilder private func cards(
        _ neurons: [ReportGallery.Neuron], of domain: Domain, _ gallery: ReportGallery
    ) -> Markup {
        if !neurons.isEmpty {
            element(.h3) {
                swatch(domain)
                "\(domain.rawValue) "
                element(.small) { domain.subject }
            }
            element(.div, ["class": "gallery"]) {
                for module in document.modules.map(\.module.name) {
                    for neuron in neurons.filter({ $0.card.module == module }) {
                        card(neuron, gallery)
                    }
                }
            }
        }
    }

    // MARK: - What it lacks

    @MarkupBuilder private func gaps(_ gallery: ReportGallery) -> Markup {
        if !gallery.neurons.isEmpty, !gallery.hasMoments {
            missing("The strongest activations were not kept when these were counted:", .moments)
        } else if !gallery.hasBench {
            missing(
                "Pictures, questions and words of the samples are not shown without their bench:",
                gallery.model == nil ? .momentModel : .momentPictures)
        }
        if gallery.model == nil, gallery.hasBench || !gallery.hasMoments {
            missing("Without the model, patches are not framed and words not named:", .momentModel)
        }
        for text in gallery.problems {
            element(.p, ["class": "missing"]) { foreign(text) }
        }
        if let model = gallery.model, let own = document.facts.fingerprint, model != own {
            note { "Words are those of another model than the study's: \(model)." }
        }
        if gallery.studies.count > 1 {
            legend(of: gallery.studies)
        }
        if gallery.leftOut > 0 {
            note {
                "\(gallery.leftOut) more neurons are left out: the gallery is to stay within "
                "\(PageText.size(gallery.limit)) (--gallery-size)."
            }
        }
    }

    /// How the histograms of studies are drawn.
    private func legend(of studies: [String]) -> Markup {
        element(.ul, ["class": "legend"]) {
            for (number, name) in studies.enumerated() {
                element(.li) {
                    element(.svg, ["viewBox": "0 0 26 12", "aria-hidden": "true"]) {
                        histogramSample(number)
                    }
                    foreign(name)
                }
            }
        }
    }

    private func histogramSample(_ number: Int) -> Markup {
        var drawing = SVGDrawing()
        if number == 0 {
            drawing.rect(1, 1, 24, 10, "f-rest")
        } else {
            drawing.polyline([(1, 11), (1, 2), (25, 2), (25, 11)], Self.outline(number))
        }
        return drawing.body
    }

    /// How the histogram of another study is drawn.
    static func outline(_ number: Int) -> String { "outline o\((number - 1) % 3)" }

    // MARK: - Pictures

    /// Every picture once; neurons show them by their names.
    private func definitions(_ gallery: ReportGallery) -> Markup {
        guard !gallery.pictures.isEmpty else { return .empty }
        return element(
            .svg, ["class": "store", "width": "0", "height": "0", "aria-hidden": "true"]
        ) {
            element(.defs) {
                for (number, picture) in gallery.pictures.enumerated() {
                    element(
                        .image,
                        [
                            "id": "shot-\(number)", "width": String(picture.width),
                            "height": String(picture.height),
                            "href": "data:image/jpeg;base64,\(picture.data.base64EncodedString())",
                        ])
                }
            }
        }
    }

    /// A picture with frames on it, the first the strongest.
    private func drawn(
        _ number: Int, _ frames: [PictureBox], _ gallery: ReportGallery, style: String,
        label: String?
    ) -> Markup {
        let picture = gallery.pictures[number]
        let (width, height) = (Double(picture.width), Double(picture.height))
        var drawing = SVGDrawing()
        for (place, frame) in frames.enumerated().reversed() {
            for kind in ["under", place == 0 ? "over" : "over weaker"] {
                drawing.rect(
                    frame.x * width, frame.y * height, frame.width * width,
                    frame.height * height, "patch \(kind)")
            }
        }
        return element(
            .svg,
            [
                "class": style, "viewBox": "0 0 \(picture.width) \(picture.height)",
                "preserveAspectRatio": "xMinYMin", "role": label == nil ? nil : "img",
                "aria-label": label,
                "aria-hidden": label == nil ? "true" : nil,
            ]
        ) {
            element(.use, ["href": "#shot-\(number)"])
            drawing.body
        }
    }

    // MARK: - Cards

    private func card(_ neuron: ReportGallery.Neuron, _ gallery: ReportGallery) -> Markup {
        let card = neuron.card
        return element(.article, ["class": "neuron"]) {
            element(.h4) {
                "\(card.module), layer \(card.layer), neuron \(card.neuron)"
            }
            note { Self.facts(neuron, gallery) }
            shots(neuron, gallery)
            said(neuron)
            figure(neuron.chart(gallery.studies))
            written("writes", neuron.raised)
            written("lowers", neuron.lowered)
        }
    }

    private static func facts(_ neuron: ReportGallery.Neuron, _ gallery: ReportGallery) -> String {
        let card = neuron.card
        var facts: [String] = []
        if let rank = card.rank { facts.append("rank \(PageText.whole(rank))") }
        if let entropy = card.entropy { facts.append("entropy \(PageText.number(entropy, 3))") }
        let also = card.domains.filter { $0.belongs && $0.domain != neuron.domain }
        if !also.isEmpty {
            facts.append("also of " + also.map(\.domain.rawValue).joined(separator: ", "))
        }
        for (name, other) in zip(gallery.studies.dropFirst(), neuron.others) {
            guard let other else {
                facts.append("not counted in \(name)")
                continue
            }
            let belongs =
                other.card.domains.first { $0.domain == neuron.domain }?.belongs ?? false
            var text = "\(belongs ? "also" : "not") in the set of \(name)"
            if !neuron.moments.isEmpty {
                text += ", \(other.shared) of \(neuron.moments.count) strongest the same"
            }
            facts.append(text)
        }
        return facts.joined(separator: " · ")
    }

    /// The pictures of the strongest activations, each with the patches where they were.
    @MarkupBuilder
    private func shots(_ neuron: ReportGallery.Neuron, _ gallery: ReportGallery) -> Markup {
        for moment in neuron.moments {
            if let number = moment.picture {
                let same = neuron.moments.filter { $0.moment.sample == moment.moment.sample }
                element(.figure, ["class": "shot"]) {
                    element(.div) {
                        drawn(
                            number, same.compactMap(\.patch), gallery, style: "whole",
                            label: "Sample \(moment.moment.sample): \(Self.words(moment))")
                        if let cut = moment.cut {
                            drawn(
                                cut.picture, [cut.patch], gallery, style: "cut", label: nil)
                        }
                    }
                    element(.figcaption) {
                        element(.b) { Self.values(same) }
                        " \(Self.words(moment)) "
                        if let question = moment.question { foreign("“\(question)”") }
                    }
                }
            }
        }
        if neuron.moments.contains(where: { $0.picture == nil && $0.place?.word == nil }),
            !neuron.moments.contains(where: { $0.picture != nil })
        {
            element(.p, ["class": "note"]) {
                "strongest: "
                neuron.moments.map {
                    "\(Self.value($0)) (sample \($0.moment.sample), token \($0.moment.token))"
                }.joined(separator: ", ")
            }
        }
    }

    /// The words at the strongest activations, in their prompt.
    @MarkupBuilder private func said(_ neuron: ReportGallery.Neuron) -> Markup {
        let words = neuron.moments.filter { $0.place?.word != nil }
        if !words.isEmpty {
            element(.ul, ["class": "said"]) {
                for moment in words {
                    element(.li) {
                        element(.b) { Self.value(moment) }
                        " "
                        element(.bdi) {
                            Self.text(moment.before)
                            element(.mark) { Self.text([moment.place?.word ?? ""]) }
                            Self.text(moment.after)
                        }
                    }
                }
            }
        }
    }

    private static func value(_ moment: ReportGallery.Moment) -> String {
        PageText.number(Double(moment.moment.value), 3)
    }

    private static func values(_ moments: [ReportGallery.Moment]) -> String {
        moments.prefix(4).map(value).joined(separator: ", ") + (moments.count > 4 ? ", …" : "")
    }

    /// Where an activation was.
    private static func words(_ moment: ReportGallery.Moment) -> String {
        guard let place = moment.place else { return "token \(moment.moment.token)" }
        guard let row = place.row, let column = place.column else {
            return "token \(moment.moment.token), which is no patch"
        }
        let grid = place.grid ?? place.tile.map { "tile \($0)" }
        let text = (grid.map { $0 + ", " } ?? "") + "row \(row + 1), column \(column + 1)"
        return moment.patch == nil ? text + ", in the padding" : text
    }

    /// Words of a vocabulary as a text: a word's beginning is a space before it, or a join after `##`.
    static func text(_ words: [String]) -> String {
        let spelled = words.contains { $0.contains("\u{2581}") }
        return words.map { word in
            if word == "<0x0A>" { return "⏎" }
            if word.hasPrefix("##") { return String(word.dropFirst(2)) }
            let text = word.replacingOccurrences(of: "\u{2581}", with: " ")
            return spelled || text != word ? text : " " + text
        }.joined()
    }

    /// Words that the neuron raises or lowers.
    @MarkupBuilder private func written(_ name: String, _ words: [WrittenWord]?) -> Markup {
        if let words, !words.isEmpty {
            element(.p, ["class": "written"]) {
                element(.b) { name }
                for word in words {
                    " "
                    element(.bdi, ["class": "word"]) {
                        word.word.replacingOccurrences(of: "\u{2581}", with: "·")
                    }
                }
            }
        }
    }
}
