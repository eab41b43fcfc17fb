"""Whether llama.cpp goes on with the same greedy text from a file that mmq made.

    .build/venv/bin/pip install llama-cpp-python
    .build/venv/bin/python tools/fidelity llama --model FOLDER [--model FOLDER ...] --bench DIR/bench
        [--split val] [--samples 7] [--tokens 32] [--threads 2]

Pictures and questions are those of the bench's VQAv2 folder, models of the LLaVA family. mmq answers; llama.cpp is
given the same ids and the picture's features, then mmq's own tokens one by one, and tells at each step whether its best
token is that one, and else by how much more it likes its own. That twice: the file as it is, whose activations
llama.cpp rounds to eight bits in its way, where mmq's are int8; and the same weights in f32, keys and values too, where
mmq's activations are int16. What is left there is the weights: how they are stored, and what they stand for. Exit code
1 if one step differs there. What rounding alone does to text can be seen in llama.cpp itself: with the file as it is,
its own best tokens are counted that are others once it takes the prompt in parts of 32 positions.
"""

import ctypes
import json
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize
from safetensors.numpy import load_file

from tools.common.benches import vqav2_picture
from tools.common.commands import one_file, output_of, parser
from tools.common.paths import MMQ

try:
    from llama_cpp import llama_cpp as library
except ModuleNotFoundError:  # not among those of `make venv`: it takes long to compile
    raise SystemExit("needs the package llama-cpp-python: .build/venv/bin/pip install llama-cpp-python") from None

PART = 32  # positions of a prompt


def values(tensor) -> np.ndarray:
    """A tensor of a GGUF file in f32, in numpy's order."""
    shape = tuple(int(length) for length in reversed(tensor.shape))
    return dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)


def write_f32(source: Path, target: Path) -> None:
    """What a file's weights stand for, in f32."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind, inner = field.types[0], field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, values(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Answer:
    """What mmq makes of a picture and a question."""

    def __init__(self, mmq: Path, model: Path, picture: Path, question: str, activations: str, tokens: int, work: Path):
        prompt, path = f"<image> {question}", work / "trace.safetensors"
        given = ["--model", model, "--image", picture, "--activations", activations]
        answer = output_of([mmq, "ask", *given, "--raw-prompt", prompt, "--max-tokens", tokens, "--json"])
        self.tokens = json.loads(answer)["tokens"][:tokens]
        output_of([mmq, "trace", *given, "--prompt", prompt, "--sites", "ids,image", "--output", path])
        sites = load_file(path)
        self.ids = sites.pop("input_ids").ravel()
        self.picture = next(value for name, value in sites.items() if "image" in name)

    def embedded(self, table: np.ndarray) -> np.ndarray:
        """[positions, hidden]: rows of the embedding table, and the picture's features in its places."""
        features = self.picture.reshape(-1, table.shape[1])
        places = np.flatnonzero(self.ids == np.bincount(self.ids).argmax())
        if len(places) != len(features):
            raise SystemExit(f"expected {len(features)} places for the picture, found {len(places)}")
        rows = table[np.minimum(self.ids, len(table) - 1)].copy()
        rows[places] = features
        return np.ascontiguousarray(rows)


class Rival:
    """llama.cpp with a file."""

    def __init__(self, path: Path, in_f32: bool, threads: int):
        self.in_f32, self.threads = in_f32, threads
        self.model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not open it")
        self.vocabulary = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self.model))
        reader = GGUFReader(path)
        self.table = values(next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight"))

    def close(self) -> None:
        library.llama_model_free(self.model)

    def steps(self, answer: Answer, part: int | None = None) -> tuple[list[int], list[float]]:
        """For each of the answer's tokens, given those before it: the best one, and its logit less the token's own.

        The prompt goes in at once, or in parts of so many positions.
        """
        rows = answer.embedded(self.table)
        params = library.llama_context_default_params()
        params.n_ctx = len(rows) + len(answer.tokens) + 8
        params.n_batch = len(rows) + 8
        params.n_ubatch = part or params.n_batch
        params.n_threads = params.n_threads_batch = self.threads
        if self.in_f32:
            params.type_k = params.type_v = library.GGML_TYPE_F32
            params.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds to halves
        context = library.llama_init_from_model(self.model, params)
        batch = library.llama_batch_init(len(rows), rows.shape[1], 1)
        batch.n_tokens = len(rows)
        ctypes.memmove(batch.embd, rows.ctypes.data, rows.nbytes)
        for place in range(len(rows)):
            self.place(batch, place, place, place == len(rows) - 1)
        self.decode(context, batch)
        library.llama_batch_free(batch)
        batch, best, gaps = library.llama_batch_init(1, 0, 1), [], []
        batch.n_tokens = 1
        for step, token in enumerate(answer.tokens):
            logits = np.ctypeslib.as_array(library.llama_get_logits_ith(context, -1), shape=(self.vocabulary,))
            best.append(int(logits.argmax()))
            gaps.append(float(logits.max() - logits[token]))
            if step + 1 < len(answer.tokens):
                batch.token[0] = token
                self.place(batch, 0, len(rows) + step, True)
                self.decode(context, batch)
        library.llama_batch_free(batch)
        library.llama_free(context)
        return best, gaps

    @staticmethod
    def place(batch, index: int, position: int, wanted: bool) -> None:
        batch.pos[index], batch.n_seq_id[index], batch.logits[index] = position, 1, wanted
        batch.seq_id[index][0] = 0

    @staticmethod
    def decode(context, batch) -> None:
        code = library.llama_decode(context, batch)
        if code:
            raise SystemExit(f"llama_decode gave {code}")


def told(gaps: list[float]) -> str:
    """How many steps, and of those that differ how many and by how much."""
    other = [gap for gap in gaps if gap > 0]
    return f"{len(gaps)} steps, " + (
        f"{len(other)} other, by {min(other):.3f} to {max(other):.3f} of logit" if other else "none other")


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--model", type=Path, action="append", required=True, help="a folder, as mmq convert makes it")
    given.add_argument("--bench", type=Path, required=True)
    given.add_argument("--split", default="val")
    given.add_argument("--samples", type=int, default=7)
    given.add_argument("--tokens", type=int, default=32)
    given.add_argument("--threads", type=int, default=2)
    given.add_argument("--mmq", type=Path, default=MMQ, help="the mmq binary")
    options = given.parse_args()
    silent = library.llama_log_callback(lambda *_: None)  # kept for as long as it may be called
    library.llama_log_set(silent, ctypes.c_void_p(0))
    library.llama_backend_init()
    vqav2 = options.bench / "vqav2"
    questions = json.loads((vqav2 / f"v2_OpenEnded_mscoco_{options.split}2014_questions.json").read_text())["questions"]
    failed = False
    for model in options.model:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            source, plain = one_file(model, "language*.gguf"), work / "f32.gguf"
            write_f32(source, plain)
            for path, in_f32, activations in ((source, False, "int8"), (plain, True, "int16")):
                rival = Rival(path, in_f32, options.threads)
                gaps, moved = [], 0
                for question in questions[:options.samples]:
                    picture = vqav2_picture(vqav2, options.split, question["image_id"])
                    answer = Answer(
                        options.mmq, model, picture, question["question"], activations, options.tokens, work)
                    best, some = rival.steps(answer)
                    gaps += some
                    if not in_f32:
                        moved += sum(a != b for a, b in zip(best, rival.steps(answer, PART)[0], strict=True))
                rival.close()
                beside = "" if in_f32 else f"; beside llama.cpp in parts of {PART}: {moved} other"
                print(f"{model.name}, {'its weights in f32' if in_f32 else 'as it is'}, mmq's activations "
                      f"{activations}: {told(gaps)}{beside}", flush=True)
                failed |= in_f32 and any(gap > 0 for gap in gaps)
    return int(failed)
