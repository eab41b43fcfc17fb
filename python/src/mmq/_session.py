"""The process `mmq session` and its events (docs/session.md)."""

import itertools
import json
import math
import os
import queue
import shutil
import signal
import subprocess
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from ._errors import MmqError, SessionEnded

PROTOCOL = 1
# The session's own limits. It could not say whose line was beyond them, and all who wait would hear of it.
LONGEST_LINE = 64 << 20
DEEPEST = 200
Event = Dict[str, Any]


def without_name(message: str) -> str:
    """A message of mmq as it stands on stderr, without the program's name."""
    text = message.strip()
    return text[5:] if text.startswith("mmq: ") else text


def _plain(value: Any, what: str, level: int = 2) -> Any:
    """A value as JSON has it, numpy's among them; one of the request itself, which is level 1, is at level 2.

    Raises:
        MmqError: JSON, or UTF-8, or the session has no such value.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError as error:
            raise MmqError(f"{what}: expected a number that fits 64 bits, found one of {value.bit_length()}") from error
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise MmqError(f"{what}: expected a finite number, found {value}")
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise MmqError(f"{what}: expected text that UTF-8 can hold, found {value!r}") from error
        return value
    if level > DEEPEST and isinstance(value, (Mapping, list, tuple)):
        raise MmqError(f"{what.split('.')[0]}: expected at most {DEEPEST} levels of nesting, found more")
    if isinstance(value, Mapping):
        return {_plain(str(key), what): _plain(inner, f"{what}.{key}", level + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, what, level + 1) for inner in value]
    raise MmqError(f"{what}: expected numbers, texts, lists and dictionaries, found a {type(value).__name__}")


def line(request: Mapping[str, Any]) -> bytes:
    """A request as a session reads it, without the end of the line.

    Raises:
        MmqError: it holds what JSON has not.
    """
    plain = {key: _plain(value, key) for key, value in request.items()}
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    if len(text) > LONGEST_LINE:
        raise MmqError(f"request: expected a line of at most {LONGEST_LINE} bytes, found a longer one of {len(text)}")
    return text


def discard(event: Event) -> None:
    """Removes the arrays of an answer that nobody takes."""
    for array in [*event.get("sites", []), *filter(None, [event.get("lens")])]:
        try:
            os.unlink(array["file"])
        except OSError:
            pass  # taken, or gone with the session's folder


class Session:
    """A running session. Threads may use it together: each request has a queue of events of its own.

    One thread reads and one writes, so that neither waits for the other (a session that cannot tell what it has to tell
    reads no more), no line is cut by Ctrl-C, and finalizers, which may wait for nothing, can ask for something too.
    """

    def __init__(self, command: List[str]) -> None:
        try:
            # A process group of its own: Ctrl-C in a terminal is for Python, which then cancels.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise MmqError(f"{command[0]}: cannot be started: {error.strerror}") from error
        self._lock = threading.Lock()  # of the inboxes; nobody waits for anything else while holding it
        self._inboxes: Dict[int, "queue.SimpleQueue[Optional[Event]]"] = {}
        # Lines, and the numbers of answers that nobody waits for any more; None at the end.
        self._outbox: "queue.SimpleQueue[Union[None, int, bytes]]" = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._over = False
        self._errors = b""
        self._threads: List[threading.Thread] = []
        try:
            self._open(command[0])
        except BaseException:  # Ctrl-C while the model is opened
            self.close()
            raise

    def _open(self, program: str) -> None:
        self._note_reader = self._start(self._read_notes)
        first = self._read_event()
        if first is None:
            raise MmqError(self._end())
        self.description = first
        if first.get("protocol") != PROTOCOL:
            raise MmqError(f"{program}: expected protocol {PROTOCOL} of mmq session, found {first.get('protocol')}")
        self._start(self._read_events)
        self._start(self._write_lines)

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    @property
    def folder(self) -> str:
        """The folder of its arrays."""
        return str(self.description["folder"])

    @property
    def is_over(self) -> bool:
        """Whether it takes no more requests."""
        return self._over or self._process.poll() is not None

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def _read_notes(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors = (self._errors + line)[-4096:]

    def _read_event(self) -> Optional[Event]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except (ValueError, TypeError):
            return None

    def _read_events(self) -> None:
        while True:
            event = self._read_event()
            if event is None:
                break
            with self._lock:
                self._deliver(event)
        with self._lock:
            self._over = True
            for inbox in self._inboxes.values():
                inbox.put(None)

    def _deliver(self, event: Event) -> None:
        inbox = self._inboxes.get(event.get("id", -1))
        if inbox is not None:
            inbox.put(event)
        elif event["event"] == "done":
            discard(event)
        elif event["event"] == "error" and "id" not in event and "op" not in event:
            # A line that the session could not read: whose it was, nobody knows.
            for inbox in self._inboxes.values():
                inbox.put(event)

    def _write_lines(self) -> None:
        assert self._process.stdin is not None
        try:
            while True:
                item = self._outbox.get()
                if item is None:
                    return
                if isinstance(item, int):
                    if not self.forget(item):
                        continue
                    item = self._cancellation(item)
                self._process.stdin.write(item + b"\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            self._process.kill()  # it is gone, or can hear nothing any more; who waits is told by the reader

    def _write(self, text: bytes) -> None:
        self._outbox.put(text)

    @staticmethod
    def _cancellation(number: int) -> bytes:
        return line({"op": "cancel", "id": number})

    def drop(self, number: int) -> None:
        """Nobody waits for this answer any more. Waits for nothing itself, so that a finalizer may call it."""
        self._outbox.put(number)

    def _end(self) -> str:
        """Waits for the process; says why it ended."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._note_reader.join(timeout=10)
        text = without_name(self._errors.decode(errors="replace"))
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            reason = f"mmq session was ended by {name}"
            if -code == signal.SIGKILL:
                reason += ": killed, or out of memory"
            return f"{reason}: {text}" if text else reason
        return text or f"mmq session ended with exit code {code}"

    def ended(self) -> SessionEnded:
        """The error for a request that got no answer; what the process left is removed."""
        reason = self._end()
        self.close()
        return SessionEnded(reason)

    def begin(self, request: Mapping[str, Any]) -> int:
        """Sends a run; gives the request's number.

        Raises:
            MmqError: it holds what JSON has not.
        """
        number = next(self._numbers)
        text = line({"op": "run", "id": number, **request})
        try:
            with self._lock:
                inbox = self._inboxes[number] = queue.SimpleQueue()
                if self._over:
                    inbox.put(None)
                self._write(text)
        except BaseException:  # Ctrl-C
            self.drop(number)
            raise
        return number

    def next(self, number: int) -> Event:
        """A request's next event.

        Raises:
            SessionEnded: there is none any more.
            MmqError: the session refused the request.
        """
        event = self._inboxes[number].get()
        if event is None:
            self.forget(number)
            raise self.ended()
        if event["event"] == "error":
            if "id" in event:
                self.forget(number)
            else:  # it may go on behind our back
                self.drop(number)
            raise MmqError(event["message"], event.get("code"))
        if event["event"] in ("done", "cancelled"):
            self.forget(number)
        return event

    def cancel(self, number: int) -> None:
        """Asks for a request to be stopped, if it is not done."""
        with self._lock:
            if number in self._inboxes:
                self._write(self._cancellation(number))

    def forget(self, number: int) -> bool:
        """Events of this request go nowhere from now on; whether more of them may come."""
        with self._lock:
            inbox = self._inboxes.pop(number, None)
        if inbox is None:
            return False
        while not inbox.empty():
            event = inbox.get()
            if event is None or event["event"] in ("done", "cancelled") or "id" in event and event["event"] == "error":
                discard(event or {})
                return False
        return True

    def close(self) -> None:
        """Ends the process, at once if it is at work, and removes what it left."""
        process = self._process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._over = True
        self._outbox.put(None)
        for thread in list(self._threads):
            if thread is not threading.current_thread():  # a finalizer runs on whatever thread
                thread.join(timeout=10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # what was not written yet
        folder = getattr(self, "description", {}).get("folder")
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # there only after SIGKILL
