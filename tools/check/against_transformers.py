"""Compares mmq with transformers in float32, stage by stage, on any checkpoint folder.

    .build/venv/bin/python tools/check transformers CHECKPOINT [--mmq .build/release/mmq] \\
        --image picture.jpg --prompt $'<image>\\nWhat is this?' [--mask mask.json | --random-mask 7]
        [--type f16] [--vision-type f16] [--greedy] [--keep FOLDER]

Converts with `mmq convert`, runs `mmq trace`, and prints a table: the greatest difference of each stage
and the share of identical counts. Types default to the type the checkpoint is stored in; with any other
type (say `--type q4_0 --vision-type q8_0`) the reference runs on the weights that the converted files
hold, dequantized by the `gguf` package. Exit code 1 if a bar is missed. Memory: the model in float32.
"""

import json
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from tools.check.stored import stored_type
from tools.common.commands import one_file, output_of, parser
from tools.common.families import ARCHITECTURES
from tools.common.files import write_json
from tools.common.llama_cpp import DECODER, unpermute
from tools.common.paths import MMQ
from tools.goldens.models import FAMILIES
from tools.goldens.record import greedy
from tools.goldens.variant import inputs_of

TRACE_SITES = "ids,pixels,image,hidden,logits,counts"


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for tensor in gguf.GGUFReader(path).tensors
    }


def assign(parameter: torch.nn.Parameter, value: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)).reshape(parameter.shape))


def load_language(model, path: Path) -> None:
    """Puts the language file's weights into the decoder."""
    language = model.get_decoder()
    text = model.config.text_config
    found, used = tensors_of(path), set()
    heads = {"attn_q": text.num_attention_heads, "attn_k": text.num_key_value_heads}
    places = {"token_embd.weight": language.embed_tokens.weight, "output_norm.weight": language.norm.weight}
    if "output.weight" in found:
        places["output.weight"] = model.get_output_embeddings().weight
    for i, layer in enumerate(language.layers):
        parameters = dict(layer.named_parameters())
        for short, long in DECODER.items():
            places[f"blk.{i}.{short}.weight"] = parameters[f"{long}.weight"]
    for name, parameter in places.items():
        value = found[name]
        part = name.split(".")[2] if name.startswith("blk.") else ""
        assign(parameter, unpermute(value, heads[part]) if part in heads else value)
        used.add(name)
    left = set(found) - used - {"rope_freqs.weight"}
    if left:
        raise SystemExit(f"{path}: tensors the decoder has no place for: {sorted(left)}")


def nearest(value: np.ndarray, candidates: list[np.ndarray]) -> tuple[int, float]:
    """The candidate of least relative distance; sampled, since matrices are large."""
    flat = value.reshape(-1)
    step = max(1, flat.size // 4096)
    sample = flat[::step]
    scale = float(np.linalg.norm(sample)) or 1.0
    distances = [float(np.linalg.norm(c.reshape(-1)[::step] - sample)) / scale for c in candidates]
    best = int(np.argmin(distances))
    return best, distances[best]


def load_vision(model, path: Path) -> None:
    """Puts the vision file's weights where they belong. Which tensor is which is told from the values
    (a quantized tensor is near its original and far from all others), so this does not lean on the
    names that the converter chose. A qkv matrix may lie in the file as three."""
    decoder = {id(p) for p in model.get_decoder().parameters()}
    decoder.add(id(model.get_output_embeddings().weight))
    by_size: dict[int, list[np.ndarray]] = {}
    for value in tensors_of(path).values():
        by_size.setdefault(value.size, []).append(value)

    def take(original: np.ndarray) -> np.ndarray | None:
        candidates = by_size.get(original.size, [])
        if not candidates:
            return None
        best, distance = nearest(original, candidates)
        return candidates[best] if distance < 0.25 else None

    for name, parameter in model.named_parameters():
        if id(parameter) in decoder:
            continue
        original = parameter.detach().numpy()
        value = take(original)
        if value is None and ".qkv." in name:
            thirds = [take(third) for third in np.split(original, 3)]
            if any(t is None for t in thirds) and name.endswith("bias"):
                thirds = [np.zeros_like(o) if t is None and not o.any() else t
                          for t, o in zip(thirds, np.split(original, 3))]
            if all(t is not None for t in thirds):
                value = np.concatenate([t.reshape(original.shape[0] // 3, -1) for t in thirds])
        if value is None:
            raise SystemExit(f"{path}: nothing in it resembles {name}")
        assign(parameter, value)


class Table:
    def __init__(self):
        self.failed = False
        print(f"{'stage':<22} {'shape':<18} {'greatest difference':>20} {'cosine':>10}  bar")

    def row(self, stage: str, shape, difference: str, cosine: str, bar: str, good: bool) -> None:
        self.failed |= not good
        print(f"{stage:<22} {str(tuple(shape)):<18} {difference:>20} {cosine:>10}  {bar}"
              f"{'' if good else '   MISSED'}")

    def identical(self, stage: str, ours: np.ndarray | None, theirs: np.ndarray) -> None:
        good = ours is not None and ours.shape == theirs.shape and bool((ours == theirs).all())
        note = "missing" if ours is None else "" if good else f"{ours.shape} found"
        self.row(stage, theirs.shape, note or ("0" if good else "differs"), "", "identical", good)

    def close(
        self, stage: str, ours: np.ndarray | None, theirs: np.ndarray,
        limit: float | None = None, least_cosine: float | None = None,
    ) -> None:
        if ours is None or ours.shape != theirs.shape:
            self.row(stage, theirs.shape, "missing" if ours is None else f"{ours.shape} found", "",
                     "same shape", False)
            return
        a, b = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
        difference = float(np.abs(a - b).max())
        cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300))
        good = np.isfinite(difference)
        bars = []
        if limit is not None:
            bars.append(f"<= {limit:g}")
            good &= difference <= limit
        if least_cosine is not None:
            bars.append(f"cosine >= {least_cosine:g}")
            good &= cosine >= least_cosine
        self.row(stage, theirs.shape, f"{difference:.3g}", f"{cosine:.6f}", " ".join(bars), bool(good))

    def counts(self, module: str, ours: dict, theirs: dict, strict: bool) -> None:
        mine, log = ours.get(f"{module}_log"), theirs[f"{module}_log"]
        self.identical(f"{module}_len", ours.get(f"{module}_len"), theirs[f"{module}_len"])
        if mine is None or mine.shape != log.shape:
            self.identical(f"{module}_log", mine, log)
            return
        share, worst = float((mine == log).mean()), int(np.abs(mine - log).max())
        good = not strict or (share >= 0.999 and worst <= 2)
        self.row(f"{module}_log", log.shape, f"{worst}", f"{share:.4%}",
                 ">= 99.9 % identical, <= 2" if strict else "", good)
        self.close(f"{module}_value", ours.get(f"{module}_value"), theirs[f"{module}_value"])


def main() -> int:
    given = parser(__doc__)
    given.add_argument("checkpoint", type=Path)
    given.add_argument("--mmq", type=Path, default=MMQ, help="the mmq binary")
    given.add_argument("--image", type=Path, required=True)
    given.add_argument("--prompt", required=True)
    given.add_argument("--type", help="of the language file; default: as stored")
    given.add_argument("--vision-type", help="of the vision file; default: as stored")
    given.add_argument("--quantized", help="shorthand: --type of this, --vision-type q8_0")
    given.add_argument("--mask", type=Path)
    given.add_argument("--random-mask", type=int, metavar="SEED")
    given.add_argument("--greedy", action="store_true", help="compare 24 greedy tokens as well")
    given.add_argument("--keep", type=Path, help="keep the converted model and the trace here")
    options = given.parse_args()
    transformers.utils.logging.disable_progress_bar()

    config = json.loads((options.checkpoint / "config.json").read_text())
    family = FAMILIES[ARCHITECTURES[config["model_type"]]]
    stored = stored_type(options.checkpoint)
    language_type = options.type or options.quantized or stored
    vision_type = options.vision_type or ("q8_0" if options.quantized else stored)
    exact = {"f32", "f16", "bf16"} >= {language_type, vision_type}

    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        converted, trace = work / "model", work / "trace.safetensors"
        output_of([options.mmq, "convert", options.checkpoint, "--output", converted,
                   "--type", language_type, "--vision-type", vision_type])
        model, processor = family.load(options.checkpoint)
        if (language_type, vision_type) != (stored, stored):
            load_vision(model, one_file(converted, "vision-*.gguf"))
            load_language(model, one_file(converted, "language-*.gguf"))
        inputs = inputs_of(processor, options.image, options.prompt)
        sites = family.sites_of(model)
        mask, mask_arguments = None, []
        if options.random_mask is not None:
            family.stages(model, inputs, sites)  # tells how many neurons each layer has
            mask = sites.random_mask(options.random_mask)
            write_json(work / "mask.json", mask, indent=None)
            mask_arguments = ["--mask", work / "mask.json"]
        elif options.mask:
            mask = json.loads(options.mask.read_text())
            mask_arguments = ["--mask", options.mask]

        theirs = family.stages(model, inputs, sites, mask)
        output_of([options.mmq, "trace", "--model", converted, "--image", options.image,
                   "--prompt", options.prompt, "--output", trace, "--sites", TRACE_SITES, *mask_arguments])
        ours = load_file(trace)

        print(f"{options.checkpoint}: stored {stored}, language {language_type}, vision {vision_type}")
        table = Table()
        table.identical("input_ids", ours.get("input_ids"), inputs["input_ids"][0].numpy())
        if "qformer_input_ids" in inputs:
            table.identical("qformer_input_ids", ours.get("qformer_input_ids"),
                            inputs["qformer_input_ids"][0].numpy())
        table.close("pixel_values", ours.get("pixel_values"), inputs["pixel_values"][0].numpy(), 1e-5)
        table.close("image_features", ours.get("image_features"), theirs["image_features"])
        layers = sum(key.startswith("hidden.") for key in theirs)
        for i in range(layers):
            table.close(f"hidden.{i}", ours.get(f"hidden.{i}"), theirs[f"hidden.{i}"])
        logits = ours["logits"][-4:] if "logits" in ours else None
        print(f"  (standard deviation of the last logits: {theirs['last_logits'].std():.3f})")
        if exact:
            table.close("logits, last 4 rows", logits, theirs["last_logits"], limit=2e-3)
        table.close("logits, last row", None if logits is None else logits[-1],
                    theirs["last_logits"][-1], least_cosine=0.999)
        for module in sites.modules:
            table.counts(module, ours, theirs, strict=exact)

        if options.greedy:
            with sites.watch(mask, count=False):
                reference = greedy(model, inputs, eos=2, every_gap=True)
            answer = json.loads(output_of([
                options.mmq, "ask", "--model", converted, "--image", options.image, "--greedy",
                "--raw-prompt", "--max-tokens", "24", "--json", *mask_arguments, options.prompt]))
            expected = [t for t in reference["tokens"] if t != 2]
            found = [t for t in answer["tokens"] if t != 2]
            same = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b),
                        min(len(expected), len(found)))
            # Runs may part where the reference itself is near a tie; after that they are not comparable.
            gaps = reference["gaps"]
            gap = gaps[min(same, len(gaps) - 1)]
            good = expected == found or gap < 5e-3 or not exact
            table.row("greedy tokens", (len(expected),), f"{same} agree", "",
                      f"identical (gap there {gap:.4f})" if expected != found else "identical", good)
    return 1 if table.failed else 0
