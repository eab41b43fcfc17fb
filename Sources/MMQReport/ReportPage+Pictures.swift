extension ReportPage {
    func pictures() throws -> Markup {
        try section(
            "pictures", "Inside single pictures",
            Markup(
                "Point at a patch of the picture or a token, tap it, or walk with the arrow keys: "
                    + "the list says what each layer would put next. A click keeps the place until "
                    + "the next one; Escape lets it go; Page Up and Page Down change the layer.")
        ) {
            if document.pictures.isEmpty {
                missing("No picture was given with the report:", .pictures)
            }
            for (number, lens) in document.pictures.enumerated() {
                try picture(lens, "picture-\(number + 1)")
            }
        }
    }

    private func picture(_ lens: PictureLens, _ id: String) throws -> Markup {
        let data = try Verbatim(json: lens.packed)
        return element(.article, ["class": "lens", "id": id]) {
            element(.h3) { foreign(lens.name) }
            element(.p, ["class": "prompt"]) { foreign(lens.prompt) }
            if let picture = lens.picture {
                element(
                    .img,
                    [
                        "class": "photo", "width": String(picture.width),
                        "height": String(picture.height), "alt": lens.name,
                        "src": "data:\(picture.type);base64,\(picture.data.base64EncodedString())",
                    ])
            }
            element(.div, ["class": "app", "hidden": ""])
            element(.div, ["class": "static"]) { lastPosition(lens).markup }
            for text in notes(lens) { note { text } }
            element(.script, ["type": "application/json"], data)
        }
    }

    private func notes(_ lens: PictureLens) -> [String] {
        var notes: [String] = []
        if lens.picture == nil {
            var text =
                "A lens file holds no picture and does not say where its image tokens lie: they "
                + "are numbered."
            if let options = commands.filling[.pictureOfLens] {
                text += " With \(options) the report looks itself."
            }
            notes.append(text)
        } else if lens.grids.isEmpty {
            notes.append("This model's image tokens have no place in the picture.")
        }
        if lens.top < lens.topGiven {
            notes.append("\(lens.top) of \(lens.topGiven) tokens are kept.")
        }
        if lens.layers.count < lens.layersGiven {
            notes.append(
                "\(lens.layers.count) of \(lens.layersGiven) layers are kept, to bound the size.")
        }
        if let model = lens.model, let own = document.facts.fingerprint, model != own {
            notes.append("Made with another model than the study: \(model).")
        }
        return notes
    }

    /// What each layer would say after the last token: the answer's first word. Stands alone where
    /// the script does not run.
    private func lastPosition(_ lens: PictureLens) -> PageTable {
        PageTable(
            caption: "After the last token of the prompt",
            head: ["layer", "entropy"] + (1...lens.top).map { "\($0)." },
            rows: lens.layers.indices.map { place in
                let found = lens.reading(place: place, position: lens.positions - 1)
                return [String(lens.layers[place]), PageText.number(found.entropy, 3)]
                    + found.words.map { "\($0.word) \(PageText.percent($0.probability)) %" }
            })
    }
}
