"""Tests/Golden/lingo-judge: tiny random DeBERTa-v3 judges and what transformers computes with them."""

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import sentencepiece
import torch
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import DebertaV2Converter
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from tools.common.files import empty_folder, write_compact, write_json

from .reference import settle
from .weights import TYPES, fill

MAXIMUM = 128

SUBJECTS = [
    "the ego vehicle", "a pedestrian", "the traffic light", "a cyclist", "the car ahead", "a bus",
    "the driver", "a parked van", "the lane on the left", "a zebra crossing",
]
VERBS = [
    "is stopping for", "is turning behind", "should give way to", "is overtaking", "is close to",
    "is waiting for", "must slow down because of", "can see", "is not affected by", "follows",
]
QUESTIONS = [
    "What is the current action of the ego vehicle?", "Is there a traffic light? What color is it?",
    "Are there any pedestrians crossing the road? If yes, how many?", "Why are you slowing down?",
    "What hazards do you see in this situation?", "Which lane are you driving in?",
]
ANSWERS = [
    "1", "Yes, there is one.", "no", "Green", "The traffic light is RED, so I am stopping.",
    "I am driving at 20 mph in the left lane because a cyclist is ahead.", "None", "two cars",
    "I'm keeping my speed; the road ahead is clear.", "A bus (double-decker) is pulling out!",
]
# Every rule of the pipeline at least once: normalization, whitespace, special tokens, unknowns.
ODD = [
    "", " ", "\n", "\t\r\n ", "a", " a", "a ", "  two  spaces  ", "line\nbreak", "tab\tstop",
    "crlf\r\nend", "many \n\n\n breaks", "\u00a0nbsp\u00a0", "\u3000ideographic\u3000space",
    "zero\u200bwidth", "joi\u200dner", "bom\ufeffhere", "soft\u00adhyphen", "nul\u0000byte",
    "bell\u0007", "del\u007f", "c1\u0085next", "line\u2028sep", "para\u2029sep", "\u2581", "a\u2581b",
    "\u2581\u2581x", "x \u2581 y", "caf\u00e9", "cafe\u0301", "e\u0301\u0323", "\u1e09", "\u00bd cup",
    "x\u00b2 + y\u00b3", "\ufb01sh and \ufb02ower", "\uff28\uff25\uff2c\uff2c\uff2f \uff11\uff12\uff13",
    "\uff45\u0301", "\u2026", "wait\u2026what", "\u2160\u2161\u2162", "\u33a1", "\u00b5m \u2126 \u212b",
    "\u2018quoted\u2019 \u201ctext\u201d", "en\u2013dash em\u2014dash", "\u2122 \u00ae \u00a9", "\u20ac5",
    "na\u00efve \u0391\u03a3 \u03c3\u03c2", "\u0130stanbul \u0131", "\u1e9e stra\u00dfe", "\u0626\u064a\u0651",
    "\ufefb", "\u05e9\u05c1", "\u0915\u094d\u0937", "\u0e19\u0e49\u0e33", "\u0e33", "\uac00\u11a8",
    "\u1100\u1161\u11a8", "\uff76\uff9e", "\u30ab\u3099", "\u4f60\u597d\uff0c\u4e16\u754c",
    "\U0001f697\U0001f6a6", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1ec\U0001f1e7",
    "1\ufe0f\u20e3", "\u2764\ufe0f", "\U0001d400\U0001d7ce", "\U0002f800", "\ufffd", "\U0001fae8 new",
    "\u0378unassigned", "\ue000private", "\u0600" + "1", "a\u0300\u0301\u0302", "\u0301alone", " \u0301",
    "[CLS]", "[CLS][SEP]", "[CLS]\nQuestion: x", "x [CLS] y", "[MASK]", "a[MASK]b", "a [MASK] b",
    "[UNK]", "x[UNK]y", " [UNK] ", "[PAD]", "[cls]", "[CLS", "[[CLS]]", "[SEP] ", "x\n[SEP]\ny",
    "\u00a7\u00b6\u2020\u2021", "abc\u00a7\u00b6def", "~~~", "q\u00a7 \u00a7q", "zzzzzzzz", "AAAA", "aaaaaaa",
    "The car... stops!?", "http://x.y/z?a=1&b=2", "3.14159", "10,000", "50 %", "a_b", "don't", "O'Neill",
    "\u0009\u000b\u000c mix", "\u1680ogham", "\u2003em\u2009thin", "\u205fmath", "\u180emongol", "x" * 300,
    "word " * 200,
]


def texts() -> list[str]:
    """Ordinary texts, the odd ones, and mixtures of both."""
    rng = random.Random(20)
    made = list(ODD)
    for _ in range(60):
        made.append(f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(SUBJECTS)}.".capitalize())
    for _ in range(40):
        made.append(judged(rng.choice(QUESTIONS), rng.choice(ANSWERS), rng.choice(ANSWERS)))
    for _ in range(60):
        parts = [rng.choice(ODD[:-2]) if rng.random() < 0.5 else rng.choice(ANSWERS) for _ in range(4)]
        made.append(rng.choice(["", " "]).join(parts))
    alphabet = [c for text in ODD[:-2] for c in text]
    for _ in range(60):
        made.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 16))))
    return made


def judged(question: str, reference: str, prediction: str) -> str:
    """The judge's text: LingoQA's evaluation lower-cases and strips both answers, its judge puts the
    tokenizer's [CLS] in front."""
    reference, prediction = reference.lower().strip(), prediction.lower().strip()
    return f"[CLS]\nQuestion: {question}\nAnswer: {reference}\nStudent: {prediction}"


def triples() -> list[tuple[str, str, str]]:
    rng = random.Random(21)
    made = [(rng.choice(QUESTIONS), rng.choice(ANSWERS), rng.choice(ANSWERS)) for _ in range(16)]
    made += [
        ("", "", ""), ("x", "y", "z"), ("Long?", " ".join(ANSWERS), " ".join(ANSWERS) * 2),
        ("  Kept as IT is ", "\x1c Stripped\u3000\n", "\u2028YES\x85"),
        ("Which?", "\u039f\u0394\u039f\u03a3", "\u0391\u03a3."),
        ("\u0130?", "\u0130STANBUL", "\u03a3 A\u03a3\u0301 \u03a3\u0391 \u1e9e"), ("[SEP]?", "[CLS]", "[MASK] [PAD]"),
        ("\uff37hy\u2026?", "\u00bd", "\ufb01ne"), ("caf\u00e9", "cafe\u0301", "CAF\u00c9"),
        (" ".join(QUESTIONS), ANSWERS[4], ANSWERS[5]),
    ]
    return made


def sentence_pieces(folder: Path) -> Path:
    """A Unigram model with the special pieces of DeBERTa-v3 and SentencePiece's nmt_nfkc map."""
    rng = random.Random(22)
    lines = QUESTIONS + ANSWERS + [a.lower() for a in ANSWERS]
    for _ in range(400):
        lines.append(f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(SUBJECTS)}.")
    syllables = ["ar", "ing", "ed", "lo", "ver", "ti", "on", "ma", "re", "st", "un", "er", "ca", "ly"]
    for _ in range(400):  # words enough for a vocabulary of a few hundred pieces
        lines.append(" ".join("".join(rng.choices(syllables, k=rng.randrange(1, 4))) for _ in range(6)))
    lines += ["Question: Answer: Student:"] * 20
    lines += ["1/2 cafe\u0301 caf\u00e9 fish 0 1 2 3 4 5 6 7 8 9 ... \u4f60 \u03c3"] * 5
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(lines) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spm"), vocab_size=300, model_type="unigram",
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]", character_coverage=1.0, num_threads=1,
        minloglevel=2)
    corpus.unlink()
    (folder / "spm.vocab").unlink()
    # Where it was made is nobody's business, and would change the file from place to place.
    path = folder / "spm.model"
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    del model.trainer_spec.input[:]
    model.trainer_spec.ClearField("model_prefix")
    path.write_bytes(model.SerializeToString())
    return path


SPECIAL = {
    "bos_token": "[CLS]", "eos_token": "[SEP]", "cls_token": "[CLS]", "sep_token": "[SEP]",
    "pad_token": "[PAD]", "mask_token": "[MASK]",
    "unk_token": AddedToken("[UNK]", normalized=True, special=True),
}


def from_pieces(model: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer that transformers 4 makes of an spm.model: what DeBERTa-v3's own
    tokenizer.json holds, and what LingoQA's evaluation ran on."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    original = SimpleNamespace(
        vocab_file=str(model), do_lower_case=False, split_by_punct=False, add_prefix_space=True,
        convert_tokens_to_ids=pieces.piece_to_id)
    return PreTrainedTokenizerFast(tokenizer_object=DebertaV2Converter(original).converted(), **SPECIAL)


CONFIG = {
    "vocab_size": 304, "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
    "intermediate_size": 96, "type_vocab_size": 0, "relative_attention": True, "share_att_key": True,
    "max_position_embeddings": 512, "max_relative_positions": -1, "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "position_buckets": 32,
    "pooler_dropout": 0, "pooler_hidden_act": "gelu", "id2label": {0: "LABEL_0"},
    "label2id": {"LABEL_0": 0},
}
VARIANTS = {
    "buckets": {
        "covers": "logarithmic buckets from distance 16 on, spm.model alone", "type": "f32", "seed": 31,
        "config": {"hidden_size": 48, "num_attention_heads": 3},
    },
    "v3": {
        "covers": "DeBERTa-v3's 256 buckets, tokenizer.json of transformers 4", "type": "f16",
        "seed": 32, "config": {"position_buckets": 256, "num_hidden_layers": 3, "intermediate_size": 64},
    },
    "plain": {
        "covers": "no buckets, distances clamped at 40, positions not normed, token types, "
        "tokenizer.json of transformers 5", "type": "bf16", "seed": 33,
        "config": {
            "position_buckets": -1, "max_relative_positions": 40, "norm_rel_ebd": "none",
            "type_vocab_size": 2, "hidden_size": 32, "num_attention_heads": 2,
        },
    },
}


def write_tokenizer(name: str, model: Path, checkpoint: Path):
    """Writes the variant's tokenizer files; returns the reference tokenizer."""
    config = {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False, "vocab_type": "spm",
              "split_by_punct": False, "model_max_length": 512}
    if name == "plain":
        made = DebertaV2Tokenizer.from_pretrained(str(model.parent))
        made.save_pretrained(checkpoint)
        return PreTrainedTokenizerFast.from_pretrained(checkpoint)
    made = from_pieces(model)
    if name == "buckets":
        shutil.copy(model, checkpoint / "spm.model")
        write_json(checkpoint / "tokenizer_config.json", config)
        return made
    made.save_pretrained(checkpoint)
    file = checkpoint / "tokenizer_config.json"
    write_json(file, json.loads(file.read_text()) | config)
    return PreTrainedTokenizerFast.from_pretrained(checkpoint)


def encode(tokenizer, text: str) -> dict:
    """As LingoQA's judge calls its tokenizer."""
    given = tokenizer(text, return_tensors="pt", padding=True, truncation=True, max_length=MAXIMUM)
    return {key: given[key] for key in ("input_ids", "attention_mask")}


def spread(judge, given: list[dict]) -> None:
    """Scales the head so that logits have both signs and deviate by about 1.5."""
    with torch.no_grad():
        logits = torch.cat([judge(**g).logits[:, 0] for g in given])
        gain = 1.5 / logits.std()
        judge.classifier.weight.mul_(gain)
        judge.classifier.bias.sub_(logits.median()).mul_(gain)


def make_variant(folder: Path, name: str, variant: dict, model: Path) -> None:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    tokenizer = write_tokenizer(name, model, checkpoint)
    judge = DebertaV2ForSequenceClassification(DebertaV2Config(**CONFIG | variant["config"])).eval()
    fill(judge, variant["seed"])
    spread(judge, [encode(tokenizer, judged(*triple)) for triple in triples()])
    judge.to(TYPES[variant["type"]]).save_pretrained(checkpoint)
    judge = DebertaV2ForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()

    cases, stages = [], {}
    for index, (question, reference, answer) in enumerate(triples()):
        text = judged(question, reference, answer)
        given = encode(tokenizer, text)
        with torch.no_grad():
            result = judge(**given, output_hidden_states=True)
        cases.append({
            "question": question, "reference": reference, "answer": answer,
            "ids": given["input_ids"][0].tolist(), "logit": float(result.logits[0, 0]),
        })
        if index in (0, 18):  # an ordinary one and one that is cut at 128 tokens
            for layer, hidden in enumerate(result.hidden_states):
                stages[f"{index}.hidden.{layer}"] = hidden[0, ::5].contiguous()  # every fifth token
    logits = torch.tensor([case["logit"] for case in cases])
    print(name, "logits", logits.min().item(), logits.max().item(), logits.std().item(),
          "tokens", sorted({len(case["ids"]) for case in cases}))
    document = {
        "covers": variant["covers"], "type": variant["type"], "seed": variant["seed"],
        "maximum_length": MAXIMUM, "cases": cases,
        "texts": [tokenizer(t)["input_ids"] for t in texts()],
    }
    if name != "buckets":  # as v3
        normalize = tokenizer.backend_tokenizer.normalizer.normalize_str
        document["normalized"] = [normalize(t) for t in texts()]
    write_compact(folder / "cases.json", document)
    save_file(stages, folder / "expected.safetensors")


def positions() -> dict:
    """Buckets of the distances 0 ... 600 and their negatives."""
    tables = []
    for buckets, maximum in ((256, 512), (32, 512), (16, 128), (8, 40), (64, 500), (48, 1024), (4, 9)):
        distances = torch.arange(0, 601)
        signed = [
            make_log_bucket_position(sign * distances, buckets, maximum).to(torch.long).tolist()
            for sign in (1, -1)
        ]
        assert signed[0] == [-b for b in signed[1]]
        tables.append({"buckets": buckets, "maximum": maximum, "positions": signed[0]})
    return {"tables": tables}


def make(golden: Path) -> None:
    settle()
    folder = empty_folder(golden / "lingo-judge")
    model = sentence_pieces(folder)
    for name, variant in VARIANTS.items():
        make_variant(folder / name, name, variant, model)
    model.unlink()
    write_compact(folder / "texts.json", texts())
    write_compact(folder / "positions.json", positions())
