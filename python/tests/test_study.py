"""Commands and `Study`: a small study from the beginning to its scores."""

import csv
import json
import sqlite3

import mmq
import numpy as np

from .support import BENCH, Case


class Studies(Case):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.file = cls.work / "study.sqlite"
        cls.told = []
        mmq.activation(cls.model_path, BENCH, cls.file, domain=["rs", "com"], samples=6, binary=cls.binary,
                       progress=cls.told.append)
        cls.found = mmq.identify(cls.file, top_rate=0.1, activation_bar=0.5, filter_rate=0.5, binary=cls.binary)
        mmq.identify(cls.file, module="lang", top_rate=0.2, set="wide", binary=cls.binary)
        cls.answered = mmq.generate(cls.file, cls.model_path, BENCH, domain="rs", masks=["none", "lang"], greedy=True,
                                    max_tokens=4, samples=3, binary=cls.binary)

    def test_counts(self) -> None:
        study = mmq.Study(self.file, self.binary)
        self.assertEqual(study.domains, ["com", "rs"])
        counts = study.counts("rs")
        self.assertEqual(counts.samples, 6)
        self.assertEqual(set(counts.fired), {"lang", "vision", "mmproj"})
        # The database itself says the same of what has no positions apart.
        with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as database:
            rows = database.execute(
                "SELECT m.name, sum(b.tokens) FROM block_count b JOIN pass p ON p.id = b.pass "
                "JOIN module m ON m.ordinal = b.module WHERE p.domain = 'rs' GROUP BY m.name").fetchall()
        database.close()
        self.assertEqual(dict(rows), counts.tokens)
        for module, fired in counts.fired.items():
            self.assertEqual((fired.dtype, counts.sums[module].dtype), (np.int64, np.float64))
            self.assertEqual(fired.shape, counts.sums[module].shape)
            rates = counts.rates(module)
            self.assertTrue(((rates >= 0) & (rates <= 1)).all() and rates.max() > 0)
        with self.assertRaises(mmq.MmqError) as caught:
            study.counts("med")
        self.assertIn("com, rs", str(caught.exception))

    def test_no_more_is_exported_than_is_read(self) -> None:
        """Blocks are more than all else."""
        study = mmq.Study(self.file, self.binary)
        self.assertEqual({file.name for file in study._exported().iterdir()}, {"activation", "mask", "answers"})
        self.assertEqual(study._exported(), study._exported())

    def test_counts_are_those_of_single_runs(self) -> None:
        """One sample, counted by the study and by values from a session."""
        file = self.work / "one.sqlite"
        mmq.activation(self.model_path, BENCH, file, domain="com", samples=1, binary=self.binary)
        generated = mmq.Study(file, self.binary).counts("com")
        model = self.open()
        candidates = []
        for picture in sorted((BENCH / "vqav2/train2014").glob("*.jpg")):
            candidates.append(model.run(picture, "", sites="mlp:vision", max_tokens=0).sites)
        fired = [np.array([(sites[f"mlp:vision.{n}"] > 0).sum(0) for n in range(model.modules["vision"].layers)])
                 for sites in candidates]
        self.assertTrue(any(np.array_equal(one, generated.fired["vision"]) for one in fired))

    def test_neurons(self) -> None:
        study = mmq.Study(self.file, self.binary)
        neurons = study.neurons()
        for module in self.found:
            for domain, layers in module["neurons"].items():
                found = neurons[module["module"]][domain]
                self.assertEqual([list(layer) for layer in found], layers)
        self.assertEqual(list(study.neurons("wide")), ["lang"])
        with self.assertRaises(mmq.MmqError):
            study.neurons("narrow")
        model = self.open()
        mask = study.mask("rs", ["lang"])
        picture = BENCH / "rs/Data/0.png"
        by_mask = model.run(picture, "Why?", sites="mlp:lang", max_tokens=0, mask=mask).sites
        by_name = model.run(picture, "Why?", sites="mlp:lang", max_tokens=0, mask="lang@rs", study=self.file).sites
        self.assertGreater(len(mask), 0)
        for site, values in by_mask.items():
            np.testing.assert_array_equal(values, by_name[site])
        with self.assertRaises(mmq.MmqError):
            study.mask("med")

    def test_answers_and_scores(self) -> None:
        study = mmq.Study(self.file, self.binary)
        answers = study.answers()
        self.assertEqual({answer.setting for answer in answers}, {"none", "lang"})
        self.assertEqual(len(study.answers("rs", "none")), 3)
        self.assertEqual(study.answers("med"), [])
        for answer in answers:
            self.assertTrue(answer.question and answer.ground_truth and answer.problem is None)
        scores = study.scores(metric="official")
        printed = json.loads(self.command("evaluate", "--study", self.file, "--metric", "official", "--json"))
        self.assertEqual(scores, printed["scores"])
        self.assertEqual({score["setting"] for score in scores}, {"none", "lang"})

    def test_tables(self) -> None:
        self.command("logit-lens", "--study", self.file, "--model", self.model_path, "--bench", BENCH, "--domain", "rs",
                     "--masks", "none", "--samples", 2)
        study = mmq.Study(self.file, self.binary)
        counts, lens, answers, scores = map(study.table, ("counts", "lens", "answers", "scores"))
        rs = study.counts("rs")
        chosen = (counts["domain"] == "rs") & (counts["module"] == "vision") & (counts["positions"] == "all")
        self.assertEqual(counts["fired"].dtype, np.int64)
        np.testing.assert_array_equal(counts["fired"][chosen], rs.fired["vision"].ravel())
        np.testing.assert_array_equal(counts["sum"][chosen], rs.sums["vision"].ravel())
        self.assertEqual(set(lens["layer"]), set(range(rs.fired["lang"].shape[0])))
        self.assertTrue((lens["entropy"] > 0).all() and (lens["samples"] == 2).all())
        for column, values in study.lens().items():
            np.testing.assert_array_equal(values, lens[column])
        self.assertEqual(sorted(answers["answer"]), sorted(answer.answer for answer in study.answers()))
        self.assertEqual(answers["question"].dtype, object)
        # Answers may be longer than what Python's csv takes for a cell.
        limit = csv.field_size_limit(4)
        try:
            np.testing.assert_array_equal(study.table("answers")["answer"], answers["answer"])
            self.assertEqual(csv.field_size_limit(), 4)
        finally:
            csv.field_size_limit(limit)
        self.assertTrue(np.isnan(scores["p"][scores["setting"] == "none"]).all())
        with self.assertRaises(mmq.MmqError) as caught:
            study.table("teeth")
        self.assertIn("counts", str(caught.exception))

    def test_answers_that_look_like_no_value_stay_texts(self) -> None:
        file = self.work / "words.sqlite"
        words = ["NA", "None", "nan"]
        with sqlite3.connect(self.file) as source, sqlite3.connect(file) as database:
            source.backup(database)
            for place, word in enumerate(words):
                changed = database.execute(
                    "UPDATE answer SET text = ? WHERE position = "
                    "(SELECT DISTINCT position FROM answer ORDER BY position LIMIT 1 OFFSET ?)", (word, place)).rowcount
                self.assertEqual(changed, 2)
        source.close()
        database.close()
        study = mmq.Study(file, self.binary)
        self.assertEqual(sorted(study.table("answers")["answer"]), sorted(words * 2))
        self.assertEqual(sorted(answer.answer for answer in study.answers()), sorted(words * 2))

    def test_stability(self) -> None:
        study = mmq.Study(self.file, self.binary)
        found = study.stability(draws=10, seed=3)
        printed = json.loads(self.command("stability", "--study", self.file, "--draws", 10, "--seed", 3, "--json"))
        self.assertEqual(found, printed)
        wide = json.loads(self.command("stability", "--study", self.file, "--set", "wide", "--draws", 4, "--json"))
        self.assertEqual(study.stability("wide", draws=4), wide)
        self.assertNotEqual(wide, found)

    def test_a_study_that_changes_is_read_anew(self) -> None:
        file = self.work / "growing.sqlite"
        mmq.activation(self.model_path, BENCH, file, domain="rs", samples=2, binary=self.binary)
        study = mmq.Study(file, self.binary)
        self.assertEqual(study.counts("rs").samples, 2)
        mmq.activation(self.model_path, BENCH, file, domain="rs", samples=4, binary=self.binary)
        self.assertEqual(study.counts("rs").samples, 4)

    def test_faults(self) -> None:
        for call, words in (
            (lambda: mmq.Study(self.work / "none.sqlite", self.binary), "none.sqlite"),
            (lambda: mmq.convert(self.work, self.work / "out", binary=self.binary), "config.json"),
            (lambda: mmq.convert(self.work, self.work / "out", teeth=3, binary=self.binary), "--teeth"),
            (lambda: mmq.activation(self.model_path, "/no/bench", self.work / "x", binary=self.binary), "/no/bench"),
        ):
            with self.subTest(words), self.assertRaises(mmq.MmqError) as caught:
                call()
            self.assertIn(words, str(caught.exception))

    def test_progress_is_what_the_command_says(self) -> None:
        from mmq._commands import _told

        bar = _told("rs RSVQA 40 %  3.2 samples/s  12 s left")
        self.assertEqual((bar.label, bar.fraction), ("rs RSVQA", 0.4))
        self.assertIsNone(_told("missing picture: a.png").fraction)
        self.assertTrue(all(isinstance(line, mmq.Progress) for line in self.told))
