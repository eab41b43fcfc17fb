"""`mmq.export` and `python -m mmq export`: tables as Parquet, against those of `Study` and the program's CSV."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import mmq
import numpy as np
from mmq import _tables

from .support import BENCH, Case

NAMES = ["counts", "neurons", "answers", "scores"]


class Studied(Case):
    """With a study that holds answers."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.file = cls.work / "study.sqlite"
        mmq.activation(cls.model_path, BENCH, cls.file, domain=["rs", "com"], samples=4, binary=cls.binary)
        mmq.identify(cls.file, top_rate=0.1, activation_bar=0.5, filter_rate=0.5, binary=cls.binary)
        mmq.generate(cls.file, cls.model_path, BENCH, domain="rs", masks=["none", "lang"], greedy=True, max_tokens=4,
                     samples=3, binary=cls.binary)
        # An answer without words, one with what CSV has to quote, and one that could not be had.
        with sqlite3.connect(cls.file) as database:
            rows = database.execute("SELECT answer_set, position FROM answer ORDER BY answer_set, position").fetchall()
            for row, text, problem in zip(rows, ["", 'a "b",\r\nc', None], [None, None, "no picture"]):
                database.execute("UPDATE answer SET text = ?, problem = ? WHERE answer_set = ? AND position = ?",
                                 (text, problem, *row))
        database.close()

    def python(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", "mmq", *map(str, words)], capture_output=True, text=True,
                              env={**os.environ, "MMQ": self.binary})


class Exports(Studied):
    def test_other_formats_are_the_programs(self) -> None:
        files = mmq.export(self.file, self.scratch, format="csv", name="m", binary=self.binary)
        self.assertEqual(files, [str(self.scratch / f"m/tables/{name}.csv") for name in NAMES])
        study = mmq.Study(self.file, self.binary)
        official = mmq.export(study, self.scratch, name="m", blocks=False, binary=self.binary)
        self.assertIn(str(self.scratch / "m/activation/rs.safetensors"), official)
        self.assertTrue(all(Path(file).is_file() for file in files + official))

    def test_without_pyarrow_nothing_is_done(self) -> None:
        with mock.patch.dict(sys.modules, {"pyarrow": None}), self.assertRaises(mmq.MmqError) as caught:
            mmq.export(self.file, self.scratch / "none", format="parquet", binary=self.binary)
        self.assertIn("pip install pyarrow", str(caught.exception))
        self.assert_nothing_is_left()

    def test_other_commands_go_to_the_program(self) -> None:
        told = self.python("export", "--study", self.file, "--output", self.scratch, "--name", "m", "--format", "csv")
        self.assertEqual(told.stdout.split(), [str(self.scratch / f"m/tables/{name}.csv") for name in NAMES])
        told = self.python("fly")
        self.assertNotEqual(told.returncode, 0)
        self.assertIn("fly", told.stderr)


@unittest.skipUnless(all(map(importlib.util.find_spec, ["pyarrow", "pandas"])), "Parquet needs pyarrow and pandas")
class Parquet(Studied):
    def test_tables_keep_types_and_gaps(self) -> None:
        import pandas

        files = mmq.export(self.file, self.scratch, format="parquet", name="m", binary=self.binary)
        self.assertEqual(files, [str(self.scratch / f"m/tables/{name}.parquet") for name in NAMES])
        self.assertEqual(sorted(path.name for path in (self.scratch / "m/tables").iterdir()),
                         sorted(f"{name}.parquet" for name in NAMES))
        study = mmq.Study(self.file, self.binary)
        for name, file in zip(NAMES, files):
            frame, want = pandas.read_parquet(file), study.table(name)
            self.assertEqual(list(frame.columns), list(want))
            self.assertGreater(len(frame), 0)
            for column, values in want.items():
                with self.subTest(name, column=column):
                    self.assertEqual(pandas.api.types.is_integer_dtype(frame[column].dtype), column in _tables._WHOLE)
                    if values.dtype != object:
                        np.testing.assert_array_equal(frame[column].to_numpy(np.float64, na_value=np.nan), values)
                    else:
                        np.testing.assert_array_equal(frame[column].fillna("").to_numpy(object), values)
        scores = pandas.read_parquet(files[3])
        self.assertTrue(scores["pairs"].isna().any() and scores["pairs"].notna().any())
        self.assertEqual(set(scores["group"].isna()), {True, False})
        answers = pandas.read_parquet(files[2])
        self.assertEqual(list(answers["answer"].isna()), list(answers["problem"].notna()))
        self.assertEqual(int(answers["problem"].notna().sum()), 1)
        self.assertEqual(int((answers["answer"] == "").sum()), 1)
        self.assertIn('a "b",\r\nc', set(answers["answer"].dropna()))

    def test_a_table_of_many_parts_is_that_of_one(self) -> None:
        import pandas

        whole = mmq.export(self.file, self.scratch / "whole", format="parquet", name="m", binary=self.binary)
        with mock.patch.object(_tables, "_ROWS", 3):
            parts = mmq.export(self.file, self.scratch / "parts", format="parquet", name="m", binary=self.binary)
        for one, other in zip(whole, parts):
            pandas.testing.assert_frame_equal(pandas.read_parquet(one), pandas.read_parquet(other))

    def test_from_the_command_line(self) -> None:
        words = ["export", "--study", self.file, "--output", self.scratch, "--name", "m", "--format"]
        want = [str(self.scratch / f"m/tables/{name}.parquet") for name in NAMES]
        told = self.python(*words, "parquet")
        self.assertEqual((told.returncode, told.stdout.split()), (0, want), told.stderr)
        self.assertEqual(json.loads(self.python(*words, "parquet", "--json").stdout), {"files": want})
        # The program names that line.
        refused = subprocess.run([self.binary, *map(str, words), "parquet"], capture_output=True, text=True)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("python -m mmq " + " ".join(map(str, words)) + " parquet", refused.stderr)
        for extra, said in ((["--teeth", "3"], "--teeth"), (["--study", "/no/study"], "/no/study")):
            told = self.python(*words, "parquet", *extra)
            self.assertEqual((told.returncode, told.stdout), (2, ""))
            self.assertIn(said, told.stderr)

    def test_what_cannot_be_written_leaves_nothing(self) -> None:
        target = self.scratch / "m/tables/counts.parquet"
        target.mkdir(parents=True)
        with self.assertRaises(mmq.MmqError) as caught:
            mmq.export(self.file, self.scratch, format="parquet", name="m", binary=self.binary)
        self.assertIn("counts.parquet", str(caught.exception))
        self.assertEqual(list(target.parent.iterdir()), [target])
        with mock.patch.object(_tables, "_for_pandas", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                mmq.export(self.file, self.scratch, format="parquet", name="n", binary=self.binary)
        self.assertEqual(list((self.scratch / "n/tables").iterdir()), [])
