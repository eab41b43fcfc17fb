"""The process `mmq session` and its events (docs/session.md)."""

import json
import math
import os
import queue
import shutil
import signal
import subprocess
import threading
from typing import Any, Dict, List, Mapping, Optional

from ._errors import MmqError, SessionEnded

PROTOCOL = 1
Event = Dict[str, Any]


def without_name(message: str) -> str:
    """A message of mmq as it stands on stderr, without the program's name."""
    text = message.strip()
    return text[5:] if text.startswith("mmq: ") else text


def _plain(value: Any, what: str) -> Any:
    """A value as JSON has it, numpy's among them.

    Raises:
        MmqError: JSON, or UTF-8, has no such value.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int)):
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
    if isinstance(value, Mapping):
        return {_plain(str(key), what): _plain(inner, f"{what}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, what) for inner in value]
    raise MmqError(f"{what}: expected numbers, texts, lists and dictionaries, found a {type(value).__name__}")


def line(request: Mapping[str, Any]) -> bytes:
    """A request as a session reads it, without the end of the line.

    Raises:
        MmqError: it holds what JSON has not.
    """
    try:
        plain = {key: _plain(value, key) for key, value in request.items()}
        return json.dumps(plain, allow_nan=False).encode()
    except RecursionError as error:
        raise MmqError("a request is nested too deeply") from error


def discard(event: Event) -> None:
    """Removes the arrays of an answer that nobody takes."""
    for site in event.get("sites", []):
        try:
            os.unlink(site["file"])
        except OSError:
            pass  # taken, or gone with the session's folder


class Session:
    """A running session. Threads may use it together: each request has a queue of events of its own."""

    def __init__(self, command: List[str]) -> None:
        try:
            # A process group of its own: Ctrl-C in a terminal is for Python, which then cancels.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise MmqError(f"{command[0]}: cannot be started: {error.strerror}") from error
        # Whoever waits for the pipe's other end must not keep events from being read.
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self._event_reader: Optional[threading.Thread] = None
        self._inboxes: Dict[int, "queue.SimpleQueue[Optional[Event]]"] = {}
        # Numbers of answers that nobody waits for any more, from finalizers, which may not wait for locks.
        self._dropped: "queue.SimpleQueue[Optional[int]]" = queue.SimpleQueue()
        self._last = 0
        self._over = False
        self._errors = b""
        self._note_reader = threading.Thread(target=self._read_notes, daemon=True)
        try:
            self._start(command[0])
        except BaseException:  # Ctrl-C while the model is opened
            self.close()
            raise

    def _start(self, program: str) -> None:
        self._note_reader.start()
        first = self._read_event()
        if first is None:
            raise MmqError(self._end())
        self.description = first
        if first.get("protocol") != PROTOCOL:
            raise MmqError(f"{program}: expected protocol {PROTOCOL} of mmq session, found {first.get('protocol')}")
        self._event_reader = threading.Thread(target=self._read_events, daemon=True)
        self._event_reader.start()
        threading.Thread(target=self._cancel_dropped, daemon=True).start()

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
        line = self._process.stdout.readline()
        try:
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except ValueError:
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
        elif event["event"] == "error" and "id" not in event and event.get("op") != "cancel":
            # A line that the session could not read: whose it was, nobody knows.
            for inbox in self._inboxes.values():
                inbox.put(event)

    def _cancel_dropped(self) -> None:
        while True:
            number = self._dropped.get()
            if number is None:
                return
            if self.forget(number):
                self._write(line({"op": "cancel", "id": number}))

    def drop(self, number: int) -> None:
        """Nobody waits for this answer any more. Waits for nothing itself, so that a finalizer may call it."""
        self._dropped.put(number)

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
        with self._lock:
            self._last += 1
            number = self._last
        text = line({"op": "run", "id": number, **request})
        with self._lock:
            self._inboxes[number] = queue.SimpleQueue()
            if self._over:
                self._inboxes[number].put(None)
        try:
            sent = self._write(text)
        except BaseException:  # Ctrl-C
            self.drop(number)
            raise
        if not sent:
            self.forget(number)
            raise self.ended()
        return number

    def _write(self, text: bytes) -> bool:
        assert self._process.stdin is not None
        try:
            with self._write_lock:
                self._process.stdin.write(text + b"\n")
                self._process.stdin.flush()
            return True
        except (OSError, ValueError):
            return False

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
            known = number in self._inboxes
        if known:
            self._write(line({"op": "cancel", "id": number}))

    def forget(self, number: int) -> bool:
        """Events of this request go nowhere from now on; whether there could have been any."""
        with self._lock:
            inbox = self._inboxes.pop(number, None)
        while inbox is not None and not inbox.empty():
            event = inbox.get()
            if event is not None:
                discard(event)
        return inbox is not None

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
        self._dropped.put(None)
        for reader in (self._note_reader, self._event_reader):
            if reader is not None and reader.ident is not None:
                reader.join(timeout=10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # what was not written yet
        folder = getattr(self, "description", {}).get("folder")
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # there only after SIGKILL
