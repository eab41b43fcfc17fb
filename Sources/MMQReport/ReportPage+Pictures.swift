import Foundation

extension ReportPage {
    func writePictures() throws {
        try section(
            "pictures", "Inside single pictures",
            "Point at a patch of the picture or a token, tap it, or walk with the arrow keys: the "
                + "list says what each layer would put next. A click keeps the place until the next "
                + "one; Escape lets it go; Page Up and Page Down change the layer."
        ) {
            guard !document.pictures.isEmpty else {
                return missing(
                    "No picture was given with the report:",
                    "mmq report \(studyArgument) --output FILE.html --model DIR --image FILE "
                        + "--prompt TEXT")
            }
            for (number, lens) in document.pictures.enumerated() {
                try writePicture(lens, "picture-\(number + 1)")
            }
        }
    }

    private func writePicture(_ lens: PictureLens, _ id: String) throws {
        add("<article class=\"lens\" id=\"\(id)\"><h3>\(foreign(lens.name))</h3>")
        add("<p class=\"prompt\">\(foreign(lens.prompt))</p>")
        if let picture = lens.picture {
            let data = picture.data.base64EncodedString()
            add(
                "<img class=\"photo\" width=\"\(picture.width)\" height=\"\(picture.height)\" "
                    + "alt=\"\(PageText.escaped(lens.name))\" "
                    + "src=\"data:\(PageText.escaped(picture.type));base64,\(data)\">")
        }
        add("<div class=\"app\" hidden></div>")
        add("<div class=\"static\">\(lastPosition(lens).html)</div>")
        var notes: [String] = []
        if lens.picture == nil {
            notes.append(
                "A lens file holds no picture and does not say where its image tokens lie: they "
                    + "are numbered. With --model, --image and --prompt the report looks itself.")
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
        for note in notes { add("<p class=\"note\">\(PageText.escaped(note))</p>") }
        add(
            "<script type=\"application/json\">\(try PageText.scriptJSON(lens.packed))</script>"
                + "</article>")
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
