"""`activations` and `Activations`: what the command writes, as arrays."""

import csv
import importlib.util
import json
import shutil
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import mmq
import numpy as np
from mmq import _safetensors

from .support import BENCH, Case


def has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


class Written(Case):
    """A folder of two layers and the projector, with files so small that there are several."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = cls.work / "activations"
        cls.told = []
        cls.options = {"sites": ["mlp:lang.1", "mlp:lang.2", "mlp:mmproj"], "domain": ["rs", "com"], "samples": 4,
                       "file_size": "64kB"}
        cls.found = mmq.activations(cls.model_path, BENCH, cls.folder, binary=cls.binary, progress=cls.told.append,
                                    **cls.options)


class Reading(Written):
    def test_arrays_are_those_of_traces(self) -> None:
        index = self.found.index
        self.assertEqual(self.found.domains, ["rs", "com"])
        self.assertTrue(self.found.finished)
        self.assertEqual(list(self.found.sites), ["mlp:lang.1", "mlp:lang.2", "mlp:mmproj.0"])
        self.assertGreater(len(set(index["file"])), 4)
        count = sum(len(self.found.array(file, 1)) for file, part in enumerate(self.found.parts)
                    if part.module == "lang")
        self.assertEqual(count, int((index["module"] == "lang").sum()))
        # The first sample of RSVQA: which it is the bench says, and a trace of it must agree.
        sample = index["sample"][(index["domain"] == "rs")][0]
        chosen = (index["domain"] == "rs") & (index["module"] == "lang") & (index["sample"] == sample)
        rows = [self.found.array(int(file), "mlp:lang.1")[row]
                for file, row in zip(index["file"][chosen], index["file_row"][chosen])]
        rs = BENCH / "rs"
        questions = json.loads((rs / "USGS_split_train_questions.json").read_text())["questions"]
        for entry in questions:
            if not entry["active"]:
                continue
            picture, prompt = rs / f"Data/{entry['img_id']}.png", f"<image>\n{entry['question']}"
            if not picture.exists():
                continue
            self.command("trace", "--model", self.model_path, "--image", picture, "--prompt", prompt, "--sites",
                         "ids,mlp:lang.1", "--output", self.scratch / "trace")
            trace = _safetensors.read(str(self.scratch / "trace"))
            if np.array_equal(trace["input_ids"], index["token"][chosen]) and np.array_equal(trace["mlp:lang.1"], rows):
                return
        self.fail("no picture and question of the bench has these activations")

    def test_arrays_are_mapped_and_read_only(self) -> None:
        array = self.found.array(0, 1)
        self.assertEqual(array.dtype, np.float32)
        with self.assertRaises(ValueError):
            array[0, 0] = 1
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.assertIsInstance(base, np.memmap)

    def test_index_is_that_of_the_files(self) -> None:
        index = self.found.index
        for file, part in enumerate(self.found.parts):
            own = index["file"] == file
            with open(Path(part.folder) / f"{part.module}-{part.number:05}.csv", newline="") as lines:
                rows = list(csv.DictReader(lines))
            self.assertEqual([int(row["file_row"]) for row in rows], list(range(len(rows))))
            for name in ("sample", "position", "image", "tile", "row", "column", "token", "file_row"):
                self.assertEqual([int(row[name]) for row in rows], index[name][own].astype(int).tolist(), name)
            self.assertEqual({int(row["file"]) for row in rows}, {part.number})
            self.assertEqual(set(index["domain"][own]), {part.domain})
            self.assertEqual(set(index["module"][own]), {part.module})
            site = next(site for site in self.found.sites.values() if site.module == part.module)
            self.assertEqual(len(self.found.array(file, site.name)), len(rows))
        self.assertEqual(index["image"].dtype, np.bool_)
        with self.assertRaises(ValueError):
            index["sample"][0] = 1

    def test_sites_may_be_left_out_where_there_is_one(self) -> None:
        file = next(file for file, part in enumerate(self.found.parts) if part.module == "mmproj")
        self.assertTrue(np.array_equal(self.found.array(file), self.found.array(file, "mlp:mmproj.0")))
        for file, site in ((0, None), (0, 7), (0, "mlp:mmproj.0"), (99, 1), (-1, 1)):
            with self.assertRaises(mmq.MmqError):
                self.found.array(file, site)

    def test_neurons_of_a_mask_file(self) -> None:
        mask = self.scratch / "neurons.json"
        mask.write_text('{"lang": [[], [3, 40], []]}')
        found = mmq.activations(self.model_path, BENCH, self.scratch / "some", binary=self.binary, neurons=mask,
                                domain="rs", samples=2, dtype="f16", positions="last")
        site = found.sites["mlp:lang.1"]
        self.assertEqual(site.neurons.tolist(), [3, 40])
        array = found.array(0)
        self.assertEqual((array.dtype, array.shape), (np.float16, (2, 2)))
        index = self.found.index
        for row, sample in enumerate(found.index["sample"]):
            whole = (index["domain"] == "rs") & (index["module"] == "lang") & (index["sample"] == sample)
            last = np.flatnonzero(whole)[-1]
            values = self.found.array(int(index["file"][last]), 1)[index["file_row"][last], site.neurons]
            self.assertTrue(np.array_equal(array[row], values.astype(np.float16)))

    def test_shards_are_read_together(self) -> None:
        parts = []
        for number in (1, 2, 3):
            parts.append(self.scratch / f"part{number}")
            mmq.activations(self.model_path, BENCH, parts[-1], binary=self.binary, shard=f"{number}/3", **self.options)
        found = mmq.Activations(*parts)

        def rows(read: mmq.Activations) -> set:
            index = read.index
            return {(*key, read.array(file, site)[row].tobytes())
                    for *key, module, file, row in zip(
                        index["domain"].tolist(), index["sample"].tolist(), index["position"].tolist(),
                        index["token"].tolist(), index["module"].tolist(), index["file"].tolist(),
                        index["file_row"].tolist())
                    for site in read.sites if read.sites[site].module == module}

        self.assertEqual(rows(found), rows(self.found))
        with self.assertRaisesRegex(mmq.MmqError, "different shards"):
            mmq.Activations(parts[0], parts[0])

    def test_an_unfinished_folder_says_so(self) -> None:
        copy = self.scratch / "copy"
        shutil.copytree(self.folder, copy)
        (copy / "rs/progress.json").unlink()
        self.assertFalse(mmq.Activations(copy).finished)

    def test_damage_is_named(self) -> None:
        for name, text in (("activations.json", "{"), ("activations.json", None), ("activations.json", "[]"),
                           ("activations.json", '{"version": 1, "model": "m"}'), ("rs/lang-00000.csv", "a,b\n1,2\n"),
                           ("rs/lang-00001.csv", "x"), ("rs/lang.1-00000.safetensors", "none")):
            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                copy = Path(folder) / "copy"
                shutil.copytree(self.folder, copy)
                if text is None:
                    (copy / name).unlink()
                else:
                    (copy / name).write_text(text)
                with self.assertRaisesRegex(mmq.MmqError, Path(name).name):
                    found = mmq.Activations(copy)
                    self.assertTrue(len(found.index["file"]))
                    found.array(next(file for file, part in enumerate(found.parts) if part.domain == "rs"), 1)

    def test_what_mmq_refuses_is_said(self) -> None:
        with self.assertRaisesRegex(mmq.MmqError, "--dtype"):
            mmq.activations(self.model_path, BENCH, self.folder, binary=self.binary, dtype="f16", **self.options)


class Tables(Written):
    def test_without_pyarrow_or_pandas_they_are_named(self) -> None:
        with unittest.mock.patch.dict("sys.modules", {"pyarrow": None, "pyarrow.parquet": None, "pandas": None}):
            with self.assertRaisesRegex(mmq.MmqError, "pip install pyarrow"):
                self.found.to_parquet(self.scratch / "index.parquet")
            with self.assertRaisesRegex(mmq.MmqError, "pip install pandas"):
                self.found.frame()
        self.assert_nothing_is_left()

    @unittest.skipUnless(has("pyarrow"), "pyarrow is not installed: Parquet is not tested")
    def test_parquet(self) -> None:
        from pyarrow import parquet
        path = self.scratch / "index.parquet"
        self.found.to_parquet(path)
        table = parquet.read_table(path)
        index = self.found.index
        self.assertEqual(table.column_names, list(index))
        for name in index:
            self.assertEqual(table[name].to_pylist(), index[name].tolist(), name)
        self.assertEqual([file.name for file in self.scratch.iterdir()], ["index.parquet"])
        with self.assertRaises(mmq.MmqError):
            self.found.to_parquet(self.scratch / "nowhere/index.parquet")

    @unittest.skipUnless(has("pandas"), "pandas is not installed: data frames are not tested")
    def test_frame(self) -> None:
        frame = self.found.frame()
        for name, column in self.found.index.items():
            self.assertEqual(frame[name].tolist(), column.tolist(), name)


if __name__ == "__main__":
    unittest.main()
