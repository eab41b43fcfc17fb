"""What the goldens of both architectures have in common: questions, the choice of cases that are clear
of ties, and the files. A `family` is a module that knows one architecture (llava_next, instructblip):
ARCHITECTURE, VARIANTS, FORMS, STAGES, write_checkpoint, load, sites_of, stages."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from tools.common.files import write_json

from . import pictures
from .record import greedy

# A greedy run of a recorded case never comes nearer to a tie than this (the bar is 5e-3): of the
# questions the first is taken that keeps the distance, with and without the mask.
SMALLEST_GAP = 0.01
# Nor does any activation of the prompt pass lie nearer to zero, where a last bit decides whether it
# counts: who computes in float32 counts the same.
NEAREST_TO_ZERO = 2e-5

QUESTIONS = (
    "What is shown in this picture?", "How many buildings are there?", "Is there a road?",
    "Describe the picture.", "What is the date of the letter?", "Is the traffic light green?",
    "Where does the person sit?", "What are they holding?", "Which is the largest area?",
    "Is a residential building present?", "What is the name at the top of the page?",
    "Who is riding a wave?", "What do you see to the left?", "How many dogs play with a ball?",
    "Which of the options is right?", "What is the number of trees?", "Is it day or night?",
    "What does the arrow point at?", "Can the car drive on?", "What is written on the page?",
    "Is there a water area?", "What colour is the road?", "Why is the light red?", "What is it?",
    "Tell me about the second building.", "How large is the area?", "Which letter comes first?",
    "Do two people walk?", "Where is the ball?", "What happens next?", "Is this a photo?", "Why?",
)


def model_configs(variant: dict) -> dict:
    """What config.json of either architecture says of the language model and of the whole."""
    text = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} | variant["text"]
    text["vocab_size"] = variant["vocabulary"]
    if variant.get("tied"):
        text["tie_word_embeddings"] = True
    return {"text_config": text, "tie_word_embeddings": bool(variant.get("tied"))}


def image_settings(settings: dict, nested: bool) -> dict:
    """Picture settings in the order of the hub's files, which write some keys only where they lie in a file of
    their own."""
    alone = ("aspect_ratio_setting", "processor_class")
    ordered = {key: settings[key] for key in sorted(settings) if key not in alone}
    return ordered if nested else ordered | {key: settings[key] for key in alone if key in settings}


def write_processor(folder: Path, kind: str, images: dict, texts: dict) -> None:
    """The processor's files as they have been written over the years: "new" is processor_config.json alone, "older"
    preprocessor_config.json alone, "both" is both."""
    if kind == "new":
        write_json(folder / "processor_config.json", {"image_processor": image_settings(images, nested=True)} | texts)
        return
    write_json(folder / "preprocessor_config.json", image_settings(images, nested=False))
    if kind == "both":
        write_json(folder / "processor_config.json", texts)


class NearTie(Exception):
    """A case for which every question comes too near to a tie."""


def inputs_of(processor, picture: Path, prompt: str) -> dict:
    with Image.open(picture) as image:
        return dict(processor(images=image.convert("RGB"), text=prompt, return_tensors="pt"))


def is_count(key: str) -> bool:
    return key.rpartition("_")[2] in ("log", "value", "len")


class Case:
    """One picture with the first question that is clear of ties."""

    def __init__(self, family, model, processor, sites, mask: dict, picture: Path, form: str):
        for question in QUESTIONS:
            self.prompt = form.format(question)
            self.inputs = inputs_of(processor, picture, self.prompt)
            self.free = greedy(model, self.inputs, eos=2)
            with sites.watch(mask, count=False):
                self.held = greedy(model, self.inputs, eos=2)
            if min(self.free["smallest_gap"], self.held["smallest_gap"]) < SMALLEST_GAP:
                continue
            self.found = family.stages(model, self.inputs, sites)
            self.nearest = sites.nearest
            masked = family.stages(model, self.inputs, sites, mask)
            self.nearest = min(self.nearest, sites.nearest)
            if self.nearest >= NEAREST_TO_ZERO:
                break
        else:
            raise NearTie
        for run in (self.free, self.held):
            run["text"] = processor.tokenizer.decode(run["tokens"], skip_special_tokens=True)
        self.found |= {
            f"masked.{key}": value
            for key, value in masked.items() if key == "last_logits" or is_count(key)
        }
        for key in ("input_ids", "qformer_input_ids"):
            if key in self.inputs:
                self.found[key] = self.inputs[key][0].numpy().astype(np.int32)
        self.found["pixel_values"] = self.inputs["pixel_values"][0].numpy()

    def description(self, name: str, picture: Path, image_token: int, stages: bool) -> dict:
        with Image.open(picture) as image:
            size = [image.height, image.width]
        found = self.found
        counts = {
            "tokens": len(found["input_ids"]),
            "image_tokens": int((found["input_ids"] == image_token).sum()),
        }
        if "qformer_input_ids" in found:
            counts["qformer_tokens"] = len(found["qformer_input_ids"])
        if found["pixel_values"].ndim == 4:
            counts["tiles"] = len(found["pixel_values"])
        return {
            "name": name, "image": f"../images/{name}.png", "image_size": size,
            "prompt": self.prompt, "expected": f"{name}.safetensors", "stages": stages,
            **counts,
            "logit_deviation": round(float(found["last_logits"].std()), 4),
            "nearest_to_zero": float(f"{self.nearest:.2e}"),
            "greedy": self.free, "greedy_masked": self.held,
        }


def turn(processor) -> dict:
    """What the checkpoint's own template makes of a question, where it has one."""
    if not getattr(processor, "chat_template", None):
        return {}
    content = [{"type": "image"}, {"type": "text", "text": QUESTIONS[0]}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return {"turn": {"words": QUESTIONS[0], "prompt": prompt}}


def write_variant(family, root: Path, name: str, seed: int) -> list[dict]:
    """Writes a variant and returns its cases. Raises `NearTie` if some case has no clear question."""
    variant, folder = family.VARIANTS[name], root / name
    shutil.rmtree(folder, ignore_errors=True)
    family.write_checkpoint(folder / "checkpoint", variant, seed)
    model, processor = family.load(folder / "checkpoint")
    sites, mask, cases = family.sites_of(model), None, []
    for case_name in variant["cases"]:
        picture, form = root / "images" / f"{case_name}.png", family.FORMS[case_name]
        if mask is None:
            # One pass tells how many neurons each layer has.
            first = inputs_of(processor, picture, form.format(QUESTIONS[0]))
            family.stages(model, first, sites)
            mask = sites.random_mask(seed)
        case = Case(family, model, processor, sites, mask, picture, form)
        # Stage by stage for the first case only: the others show where inputs differ.
        kept = {
            key: np.ascontiguousarray(value) for key, value in sorted(case.found.items())
            if not cases or is_count(key) or key == "qformer_input_ids"
            or not key.startswith(family.STAGES)
        }
        save_file(kept, folder / f"{case_name}.safetensors")
        cases.append(case.description(
            case_name, picture, model.config.image_token_id, stages=not cases))
    write_json(folder / "mask.json", mask, indent=None)
    write_json(folder / "cases.json", {
        "architecture": family.ARCHITECTURE, "covers": variant["covers"], "seed": seed,
        "type": variant["type"], "checkpoint": "checkpoint", "mask": "mask.json", **turn(processor), "cases": cases,
    })
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    return cases


def make(family, root: Path, names: list[str]) -> None:
    """Writes the variants, each with the first seed that leaves every case clear of ties."""
    pictures.write_all(root / "images")
    for name in names or family.VARIANTS:
        first_seed = 100 * family.VARIANTS[name]["seed"]
        for seed in range(first_seed, first_seed + 100):
            try:
                cases = write_variant(family, root, name, seed)
                break
            except NearTie:
                continue
        else:
            raise SystemExit(f"{name}: no seed from {first_seed} on is clear of ties")
        for case in cases:
            print(name, case["name"], f"{case['tokens']} tokens, seed {seed},",
                  f"logits +-{case['logit_deviation']}, gaps {case['greedy']['smallest_gap']}",
                  case["greedy_masked"]["smallest_gap"], case["greedy"]["tokens"][:8])
