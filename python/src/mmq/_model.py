"""A model that is open."""

import os
import threading
import weakref
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Type, Union

import numpy as np

from . import _safetensors
from ._binary import PathLike, find_binary
from ._errors import MmqError
from ._lens import Lens
from ._mask import Mask, as_request
from ._picture import as_file
from ._session import Event, Session, discard

Sites = Union[None, str, Sequence[str]]
MaskLike = Union[None, Mask, str, "os.PathLike[str]", Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class ModuleShape:
    """A module's name, its layers, and the neurons of each layer."""

    name: str
    layers: int
    neurons: int


@dataclass(frozen=True)
class Token:
    """A token of an answer, and the text that became complete with it, perhaps none."""

    id: int
    text: str


@dataclass
class Result:
    """An answer.

    Attributes:
        text: the answer, special tokens left out.
        tokens: its ids, the one that ended it included.
        prompt_tokens: how many tokens the prompt had, the picture's included.
        image_tokens: how many of them were the picture's.
        timings: `vision_seconds`, `prefill_seconds`, `decode_seconds`.
        prompt_ids: int32 [prompt_tokens], where sites were asked for; the picture's positions hold `Model.image_token`.
        sites: for each site (`mlp:lang.5`) its activations, float32 or float16 [tokens, neurons], read-only and mapped
            from a file that is deleted already. Rows of the decoder: the prompt's tokens, then one for each token of
            the answer but the last.
    """

    text: str
    tokens: List[int]
    prompt_tokens: int
    image_tokens: int
    timings: Dict[str, float]
    prompt_ids: Optional["np.ndarray[Any, np.dtype[np.int32]]"] = None
    sites: Dict[str, "np.ndarray[Any, Any]"] = field(default_factory=dict)
    _lens: Optional[Lens] = None

    @classmethod
    def _of(cls, event: Event, image_token: int) -> "Result":
        try:
            sites = {site["site"]: _safetensors.read(site["file"])[site["site"]] for site in event.get("sites", [])}
            lens = Lens._of(event, image_token) if event.get("lens") else None
        finally:
            discard(event)  # what is mapped stays
        ids = event.get("prompt_ids")
        return cls(event["text"], event["tokens"], event["prompt_tokens"], event["image_tokens"], event["timings"],
                   None if ids is None else np.array(ids, np.int32), sites, lens)


def _remove(picture: Optional[str]) -> None:
    if picture is not None:
        try:
            os.unlink(picture)
        except OSError:
            pass  # it went with the session's folder


def _drop(session: Session, number: int, picture: Optional[str]) -> None:
    session.drop(number)
    _remove(picture)


class Stream(Iterator[Token]):
    """Tokens as they come; `result` is the whole answer when they are through. Closing it, or dropping it, stops the
    answer."""

    model: Optional["Model"] = None

    def __init__(self, session: Session, request: Mapping[str, Any], picture: Optional[str]) -> None:
        self._session = session
        self._result: Optional[Result] = None
        self._error: Optional[MmqError] = None
        self._ended = False
        try:
            self._number = session.begin(request)
        except BaseException:
            _remove(picture)
            raise
        self._picture = picture
        self._finalizer = weakref.finalize(self, _drop, session, self._number, picture)

    @property
    def result(self) -> Result:
        """The answer; takes the tokens that are left.

        Raises:
            MmqError: why there is none.
        """
        for _ in self:
            pass
        if self._result is None:
            raise self._error or MmqError("the answer was cancelled")
        return self._result

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Token:
        if self._ended:
            raise StopIteration
        try:
            event = self._session.next(self._number)
        except MmqError as error:
            self._end(error)
            raise
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if event["event"] == "token":
            return Token(event["token"], event["text"])
        self._finish(event)
        raise StopIteration

    def close(self) -> None:
        """Stops the answer, if it is not complete; one that is by then is `result`."""
        if self._ended:
            return
        self._session.cancel(self._number)
        try:
            event = self._session.next(self._number)
            while event["event"] == "token":
                event = self._session.next(self._number)
        except MmqError as error:
            self._end(error)
        else:
            self._finish(event)

    def _finish(self, event: Event) -> None:
        self._end()
        if event["event"] == "done":
            self._result = Result._of(event, self._session.description["image_token"])

    def _end(self, error: Optional[MmqError] = None) -> None:
        self._ended, self._error = True, error
        self._finalizer.detach()
        _remove(self._picture)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()


class _Holder:
    """What the model's finalizer closes: the session of the day, without holding the model."""

    def __init__(self) -> None:
        self.session: Optional[Session] = None
        self.lock = threading.RLock()  # a signal's handler may close the model

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
        self.session = None


class Model:
    """A model folder (as `mmq convert` makes it), kept open by a process of its own.

        with mmq.Model("llava-q4") as model:
            print(model.run("street.jpg", "What is this?").text)

    Args:
        path: the model folder.
        binary: the program `mmq`; see `find_binary`.
        threads: how many to compute with; physical cores if not said.
        activations: what quantized products round to: `int8` or `int16`.
        compat: whose pictures and prompts: `4.41` for those of transformers 4.41 with Pillow 12, slips included.
        scratch: the folder for arrays on their way here; the system's for temporary files if not said.

    Raises:
        MmqError: the model cannot be opened; mmq's message.

    If the process is killed, the call that waits for it raises `SessionEnded`, and the next call starts another.
    """

    def __init__(self, path: PathLike, binary: Optional[PathLike] = None, *, threads: Optional[int] = None,
                 activations: Optional[str] = None, compat: Optional[str] = None,
                 scratch: Optional[PathLike] = None) -> None:
        self.path = os.fspath(path)
        self._command = [find_binary(binary), "session", "--model", self.path]
        for name, value in (("threads", threads), ("activations", activations), ("compat", compat),
                            ("scratch", scratch)):
            if value is not None:
                self._command += [f"--{name}", os.fspath(value) if hasattr(value, "__fspath__") else str(value)]
        self._holder = _Holder()
        self._closed = False
        weakref.finalize(self, self._holder.close)
        self._describe(self._session().description)

    def _describe(self, description: Event) -> None:
        self.architecture: str = description["architecture"]
        """`llava-next`, `llava-1.5` or `instructblip`."""
        self.modules: Dict[str, ModuleShape] = {
            entry["name"]: ModuleShape(entry["name"], entry["layers"], entry["neurons"])
            for entry in description["modules"]}
        """The observed modules, the decoder's among them, by name."""
        self.context_length: int = description["context_length"]
        """Most tokens of prompt and answer together."""
        self.image_token: int = description["image_token"]
        """The id that stands in `Result.prompt_ids` where the picture is."""

    def _session(self) -> Session:
        # Of several threads that find it gone one starts another.
        with self._holder.lock:
            if self._closed:
                raise MmqError(f"{self.path}: the model was closed")
            session = self._holder.session
            if session is None or session.is_over:
                self._holder.close()
                session = self._holder.session = Session(self._command)
            return session

    def stream(self, image: Any, prompt: str, *, sites: Sites = None, mask: MaskLike = None, max_tokens: int = 256,
               raw: bool = False, temperature: float = 0.0, top_k: Optional[int] = None, top_p: Optional[float] = None,
               seed: int = 0, dtype: str = "f32", study: Optional[PathLike] = None) -> Stream:
        """Like `run`, token by token."""
        return self._start(image, prompt, mask, study, raw=raw, stream=True, sites=sites, max_tokens=max_tokens,
                           temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, dtype=dtype)

    def run(self, image: Any, prompt: str, *, sites: Sites = None, mask: MaskLike = None, max_tokens: int = 256,
            raw: bool = False, temperature: float = 0.0, top_k: Optional[int] = None, top_p: Optional[float] = None,
            seed: int = 0, dtype: str = "f32", study: Optional[PathLike] = None) -> Result:
        """Asks about a picture.

        Args:
            image: a path (JPEG, PNG), a PIL image, or uint8 [height, width] or [height, width, 3].
            prompt: the question; the model's own template goes round it unless `raw`.
            sites: whose activations to give back: `mlp`, `mlp:MODULE`, `mlp:MODULE.LAYER`, one or several.
            mask: what happens to neurons: a `Mask`, a mask file, `{"lang": [[12, 40], [], ...]}`, or with `study` a
                setting such as `lang@med:mean`.
            max_tokens: most tokens of the answer; 0 runs the prompt only.
            raw: the prompt goes to the tokenizer as it is, with `<image>` in its place (the LLaVA models).
            temperature: samples above 0, without unit; at 0 the best token is taken.
            top_k, top_p, seed: how it samples.
            dtype: of the activations: `f32`, or `f16`, which rounds and makes what is beyond 65,504 infinite.
            study: the study file whose neurons `mask` names.

        Raises:
            MmqError: the request was refused; mmq's message. `SessionEnded` if the process was killed.
        """
        return self._start(image, prompt, mask, study, raw=raw, sites=sites, max_tokens=max_tokens,
                           temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, dtype=dtype).result

    def lens(self, image: Any, prompt: str, *, top: int = 10, part: str = "block", all_rows: bool = False,
             mask: MaskLike = None, raw: bool = False, study: Optional[PathLike] = None) -> Lens:
        """What each layer of the decoder would say, at every position of a picture and a prompt.

        Args:
            image, prompt, mask, raw, study: as for `run`.
            top: how many of the most probable tokens to keep of each layer and position, 1 to 1,000.
            part: what of each layer to read: `block` (its output), `attention` or `mlp` (what that part alone adds).
            all_rows: let every row of the vocabulary take part, also those that no word leads to.

        Raises:
            MmqError: the request was refused; mmq's message. `SessionEnded` if the process was killed.
        """
        found = self._start(image, prompt, mask, study, raw=raw, max_tokens=0,
                            lens={"top": top, "part": part, "all_rows": all_rows}).result._lens
        if found is None:
            raise MmqError("mmq session: expected a lens with the answer, found none")
        return found

    def _start(self, image: Any, prompt: str, mask: MaskLike, study: Optional[PathLike], *, sites: Sites = None,
               **options: Any) -> Stream:
        session = self._session()
        document = as_request(mask, {name: shape.layers for name, shape in self.modules.items()})
        if isinstance(document, str) and study is None:
            document = os.path.abspath(document)
        request = {
            **options, "prompt": prompt, "mask": document,
            "study": None if study is None else os.path.abspath(os.fspath(study)),
            "sites": [sites] if isinstance(sites, str) else list(sites or []),
        }
        # Last: what is made is removed by the stream.
        request["image"], made = as_file(image, session.folder)
        answer = Stream(session, {key: value for key, value in request.items() if value is not None}, made)
        answer.model = self  # whose end would be the stream's
        return answer

    def close(self) -> None:
        """Ends the process; no call is possible afterwards."""
        self._closed = True
        with self._holder.lock:  # a session that another thread starts just now
            self._holder.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
