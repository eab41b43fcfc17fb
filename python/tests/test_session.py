"""What can go wrong between Python and the process: lines it cannot read, threads, Ctrl-C, streams nobody reads."""

import gc
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from unittest import mock

import mmq
import numpy as np
from mmq import _safetensors, _session
from mmq._commands import _words
from mmq._mask import as_request

from .support import GOLDEN, Case, pixels


class Requests(Case):
    def test_what_json_cannot_say_is_refused(self) -> None:
        model = self.open()
        folder = os.fsdecode(os.fsencode(self.work / "caf") + b"\xe9")
        os.mkdir(folder)
        picture = os.path.join(folder, "a.png")
        Path(picture).write_bytes(self.picture.read_bytes())
        layers = model.modules["lang"].layers
        for words, wrong in (
            ("nan", {"temperature": float("nan")}), ("inf", {"temperature": float("inf")}),
            ("nan", {"mask": {
                "lang": [{"neurons": [1], "scale": [float("nan")], "shift": [0]}] + [[]] * (layers - 1)}}),
            ("UTF-8", {"prompt": "a\udce9b"}), ("UTF-8", {"image": picture}), ("UTF-8", {"mask": picture}),
            ("set", {"sites": [{"mlp"}]}),
        ):
            given = {"image": self.picture, "prompt": "Why?", **wrong}
            with self.subTest(words, **wrong), self.assertRaises(mmq.MmqError) as caught:
                self.within(20, lambda given=given: model.run(given.pop("image"), given.pop("prompt"), **given))
            self.assertIn(words, str(caught.exception))
        self.assertEqual(model._holder.session._inboxes, {})
        self.assertEqual(len(model.run(self.picture, "Why?", max_tokens=2).tokens), 2)
        model.close()
        self.assert_nothing_is_left()

    def test_numpy_in_a_dictionary(self) -> None:
        model = self.open()
        rest = [[]] * (model.modules["lang"].layers - 1)
        want, found = (model.run(self.picture, "Why?", max_tokens=0, sites="mlp:lang.0", temperature=temperature, mask={
            "lang": [{"neurons": kind([3, 7]), "scale": kind([0, 1]), "shift": kind([2, -1])}, *rest]})
            for kind, temperature in ((list, 1), (np.array, np.float32(1))))
        np.testing.assert_array_equal(found.sites["mlp:lang.0"], want.sites["mlp:lang.0"])

    def test_a_line_that_the_session_cannot_read(self) -> None:
        """It answers with an error that names no request."""
        model = self.open()
        deep = []
        for _ in range(300):
            deep = [deep]
        for words, wrong in (
            ("nesting", {"mask": {"lang": [{"neurons": [1], "scale": deep, "shift": [0]}]}}),
            ("longer", {"prompt": "a" * (65 << 20)}),
        ):
            given = {"prompt": "Why?", **wrong}
            with self.subTest(words), self.assertRaises(mmq.MmqError) as caught:
                self.within(60, lambda given=given: model.run(self.picture, **given))
            self.assertIn(words, str(caught.exception))
        # Which request it was, nobody knows: all that wait hear of it, and none goes on behind their backs.
        long = model.stream(self.picture, "Why?", max_tokens=100000, temperature=9)
        self.within(20, lambda: next(long))
        model._holder.session._write(b"{")
        with self.assertRaises(mmq.MmqError) as caught:
            self.within(20, lambda: list(long))
        self.assertIn("JSON", str(caught.exception))
        self.assertEqual(len(self.within(20, lambda: model.run(self.picture, "Why?", max_tokens=2)).tokens), 2)
        self.assertEqual(model._holder.session._inboxes, {})

    def test_a_line_that_cannot_be_read_is_not_sent(self) -> None:
        """The session could not say whose it was, and all who wait would hear of it: just beyond each of its limits."""

        def nested(levels: int) -> dict:
            inner = []
            for _ in range(levels - 5):  # the request, mask, lang, its layer, scale
                inner = [inner]
            return {"lang": [{"neurons": [1], "scale": inner, "shift": [0]}]}

        model = self.open()
        endless = []
        endless.append(endless)
        session = model._holder.session
        with mock.patch.object(session, "_deliver", wraps=session._deliver) as deliver:
            for words, wrong in (
                ("longer", {"prompt": "a" * (64 << 20)}), ("64 bits", {"seed": 10 ** 400}),
                ("64 bits", {"top_p": 2 ** 1024}), ("nesting", {"mask": nested(201)}),
                ("nesting", {"mask": {"lang": [{"neurons": [1], "scale": endless}]}}),
            ):
                given = {"prompt": "Why?", **wrong}
                with self.subTest(words), self.assertRaises(mmq.MmqError) as caught:
                    self.within(20, lambda given=given: model.run(self.picture, **given))
                self.assertIn(words, str(caught.exception))
            deliver.assert_not_called()
            # Up to the limits it is the session that refuses them, by their ids.
            for wrong in ({"seed": 1 << 1023}, {"mask": nested(200)}):
                with self.subTest(**wrong), self.assertRaises(mmq.MmqError):
                    self.within(20, lambda wrong=wrong: model.run(self.picture, "Why?", **wrong))
            self.assertEqual(["id" in call.args[0] for call in deliver.call_args_list], [True, True])

    def test_ctrl_c_cuts_no_line(self) -> None:
        """A process that stands still takes only the beginning of a long line."""
        model = self.open()
        pid = model._holder.session.pid
        os.kill(pid, signal.SIGSTOP)
        again = threading.Timer(2, os.kill, (pid, signal.SIGCONT))
        again.start()
        with self.ctrl_c(after=1):
            model.run(self.picture, "a" * (1 << 20))
        again.join()
        self.assertEqual(len(self.within(60, lambda: model.run(self.picture, "Why?", max_tokens=2)).tokens), 2)

    def test_a_cancel_that_comes_too_late_stops_nothing_else(self) -> None:
        model = self.open()
        stream = model.stream(self.picture, "Why?", max_tokens=300, temperature=9)
        session = model._holder.session
        session._inboxes[99] = None  # so that the cancel is sent
        session.cancel(99)
        del session._inboxes[99]
        self.assertGreater(len(self.within(60, lambda: list(stream))), 0)

    def test_requests_are_read_while_events_wait(self) -> None:
        """Requests that fill the pipe, while the session cannot say why it refuses them before somebody reads that."""
        model = self.open()
        errors = []

        def ask() -> None:
            for _ in range(300):
                try:
                    model.run("/no/picture.png", "a" * 5000, mask={"x" * 4000: []})
                except mmq.MmqError as error:
                    errors.append(error)

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            self.within(60, thread.join)
        self.assertEqual(len(errors), 300 * 8)


class Processes(Case):
    def started(self):
        """Processes started meanwhile."""
        found = []
        start = subprocess.Popen

        def note(*words: object, **options: object) -> subprocess.Popen:
            found.append(start(*words, **options))
            return found[-1]

        patch = mock.patch.object(_session.subprocess, "Popen", note)
        patch.start()
        self.addCleanup(patch.stop)
        return found

    def test_threads_start_one_process_when_one_is_gone(self) -> None:
        model = self.open()
        started = self.started()
        for _ in range(3):
            os.kill(model._holder.session.pid, signal.SIGKILL)
            model._holder.session._process.wait()
            before = len(started)
            ends = []
            together = threading.Barrier(4)

            def ask(ends: list = ends, together: threading.Barrier = together) -> None:
                together.wait()
                ends.append(len(model.run(self.picture, "Why?", max_tokens=2).tokens))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(ends, [2] * 4)
            self.assertEqual(len(started) - before, 1)
        model.close()
        self.assertTrue(all(process.poll() is not None for process in started))
        self.assert_nothing_is_left()

    def test_ctrl_c_while_the_model_is_opened(self) -> None:
        """A program that takes for ever to open it."""
        slow = self.work / "slow"
        slow.write_text("#!/bin/sh\nexec sleep 600\n")
        slow.chmod(0o700)
        started = self.started()
        with self.ctrl_c(after=1):
            mmq.Model(self.model_path, slow, scratch=self.scratch)
        self.assertEqual(len(started), 1)
        self.assertIsNotNone(started[0].poll())
        self.assert_nothing_is_left()


    def test_a_model_that_is_closed_while_a_process_starts(self) -> None:
        slow = self.work / "slower"
        slow.write_text(f"#!/bin/sh\nsleep 1\nexec {self.binary} \"$@\"\n")
        slow.chmod(0o700)
        model = mmq.Model(self.model_path, slow, scratch=self.scratch)
        model._holder.close()
        started = self.started()
        ends = []

        def ask() -> None:
            try:
                model.run(self.picture, "Why?", max_tokens=100000, temperature=9)
            except mmq.MmqError as error:
                ends.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        while not started:
            time.sleep(0.01)
        self.within(20, model.close)
        self.within(20, thread.join)
        self.assertEqual(len(ends), 1)
        self.assertIsNotNone(started[0].poll())
        self.assert_nothing_is_left()

    def test_a_model_that_is_forgotten_on_its_readers_thread(self) -> None:
        """As the collector does it: on whatever thread."""
        model = self.open()
        session = model._holder.session
        pipes = session._process.stdout
        ended = threading.Event()

        def close(event: object) -> None:
            model._holder.close()
            ended.set()

        with mock.patch.object(session, "_deliver", close):
            session._write(b'{"op": "info"}')
            self.assertTrue(ended.wait(20))
        self.assertTrue(pipes.closed)
        self.assert_nothing_is_left()


class Streams(Case):
    def files(self, model: mmq.Model) -> list:
        """What lies in the session's folder."""
        return list(Path(model._holder.session.folder).iterdir())

    def test_a_stream_that_is_dropped_is_cancelled(self) -> None:
        model = self.open()
        for _ in model.stream(pixels(self.picture), "Why?", max_tokens=100000, temperature=9, sites="mlp:lang"):
            break
        gc.collect()
        self.assertEqual(len(self.within(20, lambda: model.run(self.picture, "Why?", max_tokens=2)).tokens), 2)
        self.assertEqual(self.files(model), [])
        self.assertEqual(model._holder.session._inboxes, {})

    def test_an_answer_that_nobody_takes_leaves_no_file(self) -> None:
        model = self.open()
        for end in (mmq._model.Stream.close, lambda stream: None):
            stream = model.stream(pixels(self.picture), "Why?", max_tokens=3, sites="mlp:lang")
            # Behind it in the queue: when this is done, so is that.
            model.run(self.picture, "Why?", max_tokens=1)
            self.assertNotEqual(self.files(model), [])
            end(stream)
            del stream
            gc.collect()
            for _ in range(100):
                if not self.files(model):
                    break
                time.sleep(0.05)
            self.assertEqual(self.files(model), [])
            self.assertEqual(model._holder.session._inboxes, {})

    def test_how_a_stream_ended(self) -> None:
        """Only one that was stopped says so."""
        model = self.open()
        complete = model.stream(self.picture, "Why?", max_tokens=3, sites="mlp:lang.0")
        want = model.run(self.picture, "Why?", max_tokens=3, sites="mlp:lang.0")
        complete.close()
        self.assertEqual(complete.result.tokens, want.tokens)
        np.testing.assert_array_equal(complete.result.sites["mlp:lang.0"], want.sites["mlp:lang.0"])
        refused = model.stream("/no/picture.png", "Why?")
        model.run(self.picture, "Why?", max_tokens=1)  # behind it: a cancel that overtakes the refusal would stop it
        refused.close()
        killed = model.stream(self.picture, "Why?", max_tokens=100000, temperature=9)
        self.within(20, lambda: next(killed))
        os.kill(model._holder.session.pid, signal.SIGKILL)
        for _ in range(2):
            with self.assertRaises(mmq.MmqError) as caught:
                self.within(20, lambda: refused.result)
            self.assertIn("/no/picture.png", str(caught.exception))
            with self.assertRaises(mmq.SessionEnded) as caught:
                self.within(20, lambda: killed.result)

    def test_an_answer_that_comes_too_late_leaves_no_file(self) -> None:
        model = self.open()
        file = Path(model._holder.session.folder) / "late"
        file.write_bytes(b"")
        model._holder.session._deliver({"event": "done", "id": 10 ** 6, "sites": [{"file": str(file)}]})
        self.assertEqual(self.files(model), [])

    def test_a_stream_keeps_its_model_open(self) -> None:
        stream = mmq.Model(self.model_path, self.binary, scratch=self.scratch).stream(
            self.picture, "Why?", max_tokens=3, temperature=9)
        gc.collect()
        self.assertGreater(len(list(stream)), 0)
        stream.model.close()

    def test_a_request_that_cannot_be_made_leaves_no_picture(self) -> None:
        model = self.open()
        for wrong in ({"sites": 3}, {"mask": 3}, {"study": 3}, {"top_k": {1}}):
            with self.subTest(**wrong), self.assertRaises((mmq.MmqError, TypeError)):
                model.run(pixels(self.picture), "Why?", **wrong)
        self.assertEqual(self.files(model), [])


class Options(Case):
    def test_compat(self) -> None:
        """Greedy answers of transformers 4.41.2, and another number of image tokens than today's."""
        folder = GOLDEN / "compat/llava-next"
        cases = json.loads((folder / "cases.json").read_text())["cases"]
        cases = [case for case in cases if case["smallest_gap"] > 5e-3]
        self.assertGreater(len(cases), 4)
        model = mmq.Model(self.model_path, self.binary, compat="4.41")
        self.addCleanup(model.close)
        today = self.open()
        others = 0
        for case in cases:
            picture = folder / case["image"]
            found = model.run(picture, case["prompt"], raw=True, max_tokens=len(case["tokens"]))
            self.assertEqual(found.tokens, case["tokens"], case["name"])
            others += found.image_tokens != today.run(picture, case["prompt"], raw=True, max_tokens=0).image_tokens
        self.assertGreater(others, 0)
        with self.assertRaises(mmq.MmqError):
            mmq.Model(self.model_path, self.binary, compat="4.40")

    def test_arrays_are_those_of_trace(self) -> None:
        model = self.open()
        file = self.scratch.parent / "trace.safetensors"
        case = self.cases[0]
        for dtype in ("f32", "f16"):
            self.command("trace", "--model", self.model_path, "--image", self.picture, "--prompt", case["prompt"],
                         "--sites", "mlp", "--dtype", dtype, "--output", file)
            want = _safetensors.read(str(file))
            found = model.run(self.picture, case["prompt"], raw=True, max_tokens=0, sites="mlp", dtype=dtype).sites
            self.assertEqual(list(found), sorted(want, key=list(found).index))
            for name, values in want.items():
                self.assertEqual((found[name].dtype, found[name].shape), (values.dtype, values.shape))
                self.assertEqual(found[name].tobytes(), values.tobytes(), name)

    def test_neurons_as_arrays(self) -> None:
        chosen = np.array([False, True, False, True])
        want = mmq.Mask().off("lang", 0, [1, 3]).document({"lang": 1})
        for neurons in (chosen, list(chosen), np.array([1, 3], np.uint8), iter([1, 3])):
            self.assertEqual(mmq.Mask().off("lang", 0, neurons).document({"lang": 1}), want)
        self.assertEqual(as_request({"lang": [chosen]}, {"lang": 1}), want)
        self.assertEqual(as_request({"lang": [{"neurons": chosen, "kind": "mean"}]}, {"lang": 1}),
                         {"lang": [{"neurons": [1, 3], "kind": "mean"}]})
        for wrong in (np.array([0.0, 1.0]), [0.5], np.array([[True]]), ["1"], "12", 5, [True, 3], [[1], [2, 3]], [-1],
                      {"neurons": np.array([0.5])}):
            for call in (lambda wrong=wrong: mmq.Mask().off("lang", 0, wrong),
                         lambda wrong=wrong: as_request({"lang": [wrong]}, {"lang": 1})):
                with self.assertRaises(mmq.MmqError):
                    call()

    def test_what_is_off(self) -> None:
        """Flags that are on unless they are switched off, and flags that are off; what takes a value cannot be off."""
        for command, given, want in (
            ("activation", {"positions": False, "again": False, "seed": None}, ["--no-positions"]),
            ("activation", {"positions": np.False_}, ["--no-positions"]),
            ("activation", {"positions": True, "again": True}, ["--positions", "--again"]),
            ("generate", {"greedy": False, "plan": False}, []), ("evaluate", {"types": False}, []),
            ("generate", {"domain": np.array(["rs", "com"]), "samples": np.int64(3)},
             ["--domain=rs,com", "--samples=3"]),
        ):
            with self.subTest(command, **given):
                self.assertEqual(_words(self.binary, command, given), want)
        for command, name in (("identify", "positions"), ("identify", "top_rate"), ("convert", "type"),
                              ("generate", "teeth"), ("generate", "greed")):
            with self.subTest(command, name=name), self.assertRaises(mmq.MmqError) as caught:
                _words(self.binary, command, {name: False})
            self.assertIn("--" + name.replace("_", "-"), str(caught.exception))
