"""`Model.lens` against `mmq logit-lens` over the same picture."""

import json

import mmq
import numpy as np

from .support import Case


class Lenses(Case):
    def printed(self, picture: object, prompt: str, *options: object) -> dict:
        return json.loads(self.command("logit-lens", "--model", self.model_path, "--image", picture, "--prompt", prompt,
                                       "--json", *options))

    def test_it_is_that_of_the_command(self) -> None:
        model = self.open()
        case = self.cases[0]
        mask = self.golden / "mask.json"
        for options, words in (
            ({}, []),
            ({"top": 3, "part": "mlp", "all_rows": True}, ["--top", 3, "--part", "mlp", "--all-rows"]),
            ({"mask": mask}, ["--mask", mask]),
        ):
            lens = model.lens(self.picture, case["prompt"], raw=True, **options)
            want = self.printed(self.picture, case["prompt"], *words)
            with self.subTest(words):
                self.assertEqual((lens.part, lens.layers, lens.positions), (want["part"], want["layers"],
                                                                           want["positions"]))
                self.assertEqual(lens.top_ids.shape, (want["layers"], want["positions"], want["top"]))
                self.assertEqual(lens.words, {int(token): word for token, word in want["words"].items()})
                np.testing.assert_array_equal(lens.prompt_ids, want["input_ids"])
                np.testing.assert_array_equal(lens.is_image, want["is_image"])
                self.assertEqual(int(lens.is_image.sum()), case["image_tokens"])
                np.testing.assert_array_equal(lens.top_ids, want["top_ids"])
                for found, key in ((lens.top_probabilities, "top_probabilities"), (lens.entropies, "entropies"),
                                   (lens.divergences, "divergences")):
                    self.assertEqual(found.dtype, np.float32)
                    np.testing.assert_array_equal(found, np.array(want[key], np.float32))
        model.close()
        self.assert_nothing_is_left()

    def test_the_last_layer_says_what_is_answered(self) -> None:
        model = self.open()
        answer = model.run(self.picture, "Why?", max_tokens=1)
        lens = model.lens(self.picture, "Why?", top=4, all_rows=True)
        self.assertEqual(int(lens.top_ids[-1, -1, 0]), answer.tokens[0])
        said = lens.says(-1)
        self.assertEqual(said[0][0], lens.words[answer.tokens[0]])
        self.assertEqual([share for _, share in said], sorted((share for _, share in said), reverse=True))
        self.assertEqual(lens.says(lens.layers - 1, lens.positions - 1), said)
        for layer, position in ((lens.layers, 0), (0, lens.positions), (-lens.layers - 1, 0)):
            with self.assertRaises(mmq.MmqError):
                lens.says(layer, position)

    def test_faults(self) -> None:
        model = self.open()
        for options, words in (({"top": 0}, "'lens.top'"), ({"part": "teeth"}, "'lens.part'"),
                               ({"mask": "/no/mask.json"}, "/no/mask.json")):
            with self.subTest(options), self.assertRaises(mmq.MmqError) as caught:
                model.lens(self.picture, "Why?", **options)
            self.assertIn(words, str(caught.exception))
        self.assertEqual(len(model.run(self.picture, "Why?", max_tokens=2).tokens), 2)
        model.close()
        self.assert_nothing_is_left()
