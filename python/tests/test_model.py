"""`Model` over the real program, against goldens that transformers made."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import mmq
import numpy as np
from mmq import _safetensors

from .support import GOLDEN, ROOT, Case, pixels


class Answers(Case):
    tower = "mlp:vision.0"

    def test_tokens_are_those_of_transformers(self) -> None:
        with self.open() as model:
            for case in self.cases:
                for mask, key in ((None, "greedy"), (self.golden / "mask.json", "greedy_masked")):
                    result = model.run(self.golden / case["image"], case["prompt"], raw=True, mask=mask, max_tokens=24)
                    self.assertEqual(result.tokens, case[key]["tokens"])
                    self.assertEqual(result.image_tokens, case["image_tokens"])
                    self.assertEqual(result.sites, {})
        self.assert_nothing_is_left()

    def test_the_template_goes_round_the_prompt(self) -> None:
        model = self.open()
        result = model.run(self.picture, "Why?", max_tokens=6)
        text = self.command("ask", "--model", self.model_path, "--image", self.picture, "--max-tokens", 6, "Why?")
        self.assertEqual(result.text + "\n", text)

    def test_pictures_as_arrays_and_as_pil_has_them(self) -> None:
        model = self.open()
        array = pixels(self.picture)
        want = model.run(self.picture, "Why?", max_tokens=8, sites=self.tower)

        class Picture:  # what of PIL's images is used
            def getbands(self) -> tuple:
                return ("R", "G", "B")

            def convert(self, mode: str) -> np.ndarray:
                assert mode == "RGB"
                return array

        for image in (array, Picture(), np.dstack([array, array[:, :, :1]])):
            found = model.run(image, "Why?", max_tokens=8, sites=self.tower)
            self.assertEqual(found.tokens, want.tokens)
            np.testing.assert_array_equal(found.sites[self.tower], want.sites[self.tower])
        grey = array[:, :, 0]
        np.testing.assert_array_equal(
            model.run(grey, "Why?", max_tokens=0, sites=self.tower).sites[self.tower],
            model.run(np.repeat(grey[:, :, None], 3, 2), "Why?", max_tokens=0, sites=self.tower).sites[
                self.tower])
        for wrong in (array.astype(float), array[:, :, :2], array[:0], np.zeros(3, np.uint8)):
            with self.assertRaises(mmq.MmqError):
                model.run(wrong, "Why?")
        model.close()
        self.assert_nothing_is_left()

    def test_tokens_come_one_by_one(self) -> None:
        model = self.open()
        want = model.run(self.picture, "Why?", max_tokens=7)
        with model.stream(self.picture, "Why?", max_tokens=7) as stream:
            tokens = list(stream)
            self.assertEqual([token.id for token in tokens], want.tokens)
            self.assertEqual("".join(token.text for token in tokens), want.text)
            self.assertEqual(stream.result.tokens, want.tokens)
        # One that is left in the middle stops, and the model goes on; another runs meanwhile.
        with model.stream(self.picture, "Why?", max_tokens=5000, temperature=9) as long:
            next(long)
            short = model.stream(self.picture, "Why?", max_tokens=7)
        with self.assertRaises(mmq.MmqError) as caught:
            _ = long.result
        self.assertIn("cancelled", str(caught.exception))
        self.assertEqual(short.result.tokens, want.tokens)

    def test_sampling(self) -> None:
        model = self.open()
        first = model.run(self.picture, "Why?", max_tokens=9, temperature=1.5, seed=1).tokens
        self.assertEqual(model.run(self.picture, "Why?", max_tokens=9, temperature=1.5, seed=1).tokens, first)
        self.assertNotEqual(model.run(self.picture, "Why?", max_tokens=9, temperature=1.5, seed=2).tokens, first)

    def test_threads_wait_for_each_other(self) -> None:
        model = self.open()
        want = model.run(self.picture, "Why?", max_tokens=6).tokens
        found = []
        threads = [threading.Thread(target=lambda: found.append(
            model.run(self.picture, "Why?", max_tokens=6).tokens)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [want] * 4)


class InstructBLIPAnswers(Answers):
    golden = GOLDEN / "instructblip/new-f16"
    tower = "mlp:encoder.0"


class Values(Case):
    def test_they_add_up_to_what_transformers_counted(self) -> None:
        model = self.open()
        for case in self.cases:
            expected = _safetensors.read(str(self.golden / case["expected"]))
            result = model.run(self.golden / case["image"], case["prompt"], raw=True, sites="mlp", max_tokens=0)
            np.testing.assert_array_equal(result.prompt_ids, expected["input_ids"])
            for module in model.modules.values():
                values = [result.sites[f"mlp:{module.name}.{layer}"] for layer in range(module.layers)]
                for layer in values:
                    self.assertEqual(layer.dtype, np.float32)
                    self.assertEqual(layer.shape, (expected[module.name + "_len"][0], module.neurons))
                np.testing.assert_array_equal([(layer > 0).sum(0) for layer in values], expected[module.name + "_log"])
                np.testing.assert_allclose([layer.sum(0, dtype=float) for layer in values],
                                           expected[module.name + "_value"], atol=2e-3, rtol=0)

    def test_they_are_mapped_and_outlive_the_model(self) -> None:
        model = self.open()
        result = model.run(self.picture, "Why?", sites=["mlp:lang.1", "mlp:mmproj"] if "mmproj" in model.modules
                           else ["mlp:lang.1"], max_tokens=4, dtype="f16")
        model.close()
        self.assert_nothing_is_left()
        values = result.sites["mlp:lang.1"]
        self.assertEqual(values.dtype, np.float16)
        self.assertEqual(values.shape[0], result.prompt_tokens + len(result.tokens) - 1)
        self.assertTrue(np.isfinite(values).all())
        base = values
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.assertIsInstance(base, np.memmap)
        with self.assertRaises(ValueError):
            values[0, 0] = 1

    def test_masks(self) -> None:
        model = self.open()
        plain = model.run(self.picture, "Why?", sites="mlp:lang", max_tokens=0).sites
        half = mmq.Intervention(scale=0.5, shift=0.25)
        last = model.modules["lang"].layers - 1
        sites = [f"mlp:lang.{layer}" for layer in range(last + 1)]
        mask = (mmq.Mask().off("lang", last - 1, np.array([3, 5])).set("lang", last, [7], half)
                .set("lang", last, [8], mmq.Intervention.hold(-2)))
        self.assertEqual(len(mask), 4)
        found = model.run(self.picture, "Why?", sites="mlp:lang", max_tokens=0, mask=mask).sites
        for site in sites[:-2]:
            np.testing.assert_array_equal(found[site], plain[site])
        self.assertTrue((found[sites[-2]][:, [3, 5]] == 0).all())
        np.testing.assert_array_equal(np.delete(found[sites[-2]], [3, 5], 1), np.delete(plain[sites[-2]], [3, 5], 1))
        self.assertTrue((found[sites[-1]][:, 8] == -2).all())
        only = model.run(self.picture, "Why?", sites=sites[-1], max_tokens=0,
                         mask=mmq.Mask().set("lang", last, [7], half)).sites[sites[-1]]
        np.testing.assert_array_equal(only[:, 7], plain[sites[-1]][:, 7] * np.float32(0.5) + np.float32(0.25))
        # The same as a file and as lists.
        path = self.work / "mask.json"
        layers = {name: shape.layers for name, shape in model.modules.items()}
        mask.save(str(path), layers)
        lists = {"lang": [[]] * (last - 1) + [
            [3, 5], {"neurons": [7, 8], "scale": [0.5, 0], "shift": [0.25, -2]}]}
        for other in (path, str(path), lists):
            again = model.run(self.picture, "Why?", sites=sites[-1], max_tokens=0, mask=other).sites[sites[-1]]
            np.testing.assert_array_equal(again, found[sites[-1]])


class InstructBLIPValues(Values):
    golden = GOLDEN / "instructblip/new-f16"


class Faults(Case):
    def test_what_mmq_refuses(self) -> None:
        model = self.open()
        for words, wrong in (
            ("no such file", {"image": "/no/picture.png"}),
            ("teeth", {"mask": {"teeth": [[1]]}}), ("teeth", {"mask": mmq.Mask().off("teeth", 0, [1])}),
            ("layers", {"mask": mmq.Mask().off("lang", 99, [1])}),
            ("100000", {"mask": mmq.Mask().off("lang", 0, [100000])}),
            ("/no/mask.json", {"mask": "/no/mask.json"}), ("mlp:lang.99", {"sites": "mlp:lang.99"}),
            ("'hidden'", {"sites": ["hidden"]}), ("dtype", {"dtype": "f8"}), ("max_tokens", {"max_tokens": -1}),
            ("context", {"prompt": "why " * 50000}), ("<image> once", {"raw": True}),
        ):
            given = {"image": self.picture, "prompt": "Why?", **wrong}
            with self.subTest(words), self.assertRaises(mmq.MmqError) as caught:
                model.run(given.pop("image"), given.pop("prompt"), **given)
            self.assertIn(words, str(caught.exception))
        self.assertEqual(len(model.run(self.picture, "Why?", max_tokens=2).tokens), 2)
        with self.assertRaises(mmq.MmqError) as caught:
            mmq.Model(self.work / "nothing", self.binary)
        self.assertIn(str(self.work / "nothing"), str(caught.exception))
        with self.assertRaises(mmq.MmqError):
            mmq.Model(self.model_path, "/no/mmq")
        model.close()
        with self.assertRaises(mmq.MmqError) as caught:
            model.run(self.picture, "Why?")
        self.assertIn("closed", str(caught.exception))
        self.assert_nothing_is_left()

    def test_a_session_that_is_killed(self) -> None:
        model = self.open()
        want = model.run(self.picture, "Why?", max_tokens=5).tokens
        # (Swift's runtime catches SIGSEGV to print where it was, and goes on if nothing was wrong.)
        for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1):
            with model.stream(pixels(self.picture), "Why?", max_tokens=5000, temperature=9) as stream:
                next(stream)
                os.kill(model._holder.session.pid, kill)
                with self.assertRaises(mmq.SessionEnded) as caught:
                    for _ in stream:
                        pass
            if kill == signal.SIGKILL:
                self.assertIn("SIGKILL", str(caught.exception))
            self.assert_nothing_is_left()
            self.assertEqual(model.run(self.picture, "Why?", max_tokens=5).tokens, want)
        # Killed while nobody waits: nothing is lost, so nobody hears of it.
        os.kill(model._holder.session.pid, signal.SIGKILL)
        time.sleep(0.2)
        self.assertEqual(model.run(self.picture, "Why?", max_tokens=5).tokens, want)
        model.close()
        self.assert_nothing_is_left()

    def test_a_model_that_is_forgotten(self) -> None:
        model = mmq.Model(self.model_path, self.binary, scratch=self.scratch)
        process = model._holder.session._process
        del model
        gc.collect()
        self.assertIsNotNone(process.poll())
        self.assert_nothing_is_left()

    def test_a_python_that_dies_leaves_no_process_and_no_file(self) -> None:
        script = (
            "import sys, mmq\n"
            "model = mmq.Model(sys.argv[1], sys.argv[2], scratch=sys.argv[3])\n"
            "stream = model.stream(sys.argv[4], 'Why?', max_tokens=100000, temperature=9, sites='mlp:lang')\n"
            "next(stream)\n"
            "print(model._holder.session.pid, flush=True)\n"
            "for token in stream: pass\n")
        child = subprocess.Popen(
            [sys.executable, "-c", script, self.model_path, self.binary, self.scratch, self.picture],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python/src")})
        pid = int(child.stdout.readline())
        child.kill()
        child.wait()
        child.stdout.close()
        for _ in range(600):
            if not os.path.exists(f"/proc/{pid}") and not list(self.scratch.iterdir()):
                break
            time.sleep(0.1)
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
        self.assert_nothing_is_left()
