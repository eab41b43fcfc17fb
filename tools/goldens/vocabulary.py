"""A small SentencePiece-BPE vocabulary with byte fallback, and a small BERT vocabulary, both
made from the text below, so that the goldens need nothing from outside."""

import io
import json
import re
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import BertTokenizer, LlamaTokenizer

from tools.common.files import write_json

TEXT = """
A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.
USER: What is shown in this picture? Answer the question using a single word or phrase. ASSISTANT:
USER: How many buildings are there? ASSISTANT: two
USER: What colour is the car on the left of the road? ASSISTANT: red
Question: Which of the following is seen in the image? Options: Answer with the option's letter from the given choices directly.
Is a residential building present? yes
Is there a road next to the water area? no
What is the area covered by small buildings? 120m2
What is the number of roads in the image? 3
Is the number of trees equal to the number of buildings?
The traffic light is green, so the ego vehicle can drive on.
You are an advanced assistant installed on the vehicle, discussing autonomous driving scenarios.
What is the date of the letter? What is the name of the company at the top of the page?
The scan shows a lesion in the left lung. The arrow points at the fracture.
A man is riding a wave on a surfboard. Two dogs play with a ball in the grass.
Describe the picture. Describe what you see in the photo, one thing after another.
The quick brown fox jumps over the lazy dog; 0 1 2 3 4 5 6 7 8 9 (and) [more] {of} it!
Where does the person sit? What are they holding in their hands?
Das Bild zeigt eine Straße. La photo montre une rivière.
"""  # noqa: E501

SPECIAL = ("<unk>", "<s>", "</s>")


def trained(sentences, size: int, **options) -> sentencepiece_model_pb2.ModelProto:
    """A SentencePiece model as LLaMA's: <unk>, <s>, </s>, 256 bytes, BPE pieces, `size` in all."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="bpe", vocab_size=size,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=2, **options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    # The trainer's own settings name the Python objects it read from; they say nothing about the vocabulary.
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.model_prefix = "tokenizer"
    return proto


def sentencepiece_model(size: int) -> bytes:
    """The bytes of a `tokenizer.model` of `size` pieces."""
    proto = trained(TEXT.strip().split("\n"), size, character_coverage=0.995, allow_whitespace_only_pieces=True)
    return proto.SerializeToString(deterministic=True)


def added(content: str) -> dict:
    return {
        "content": content, "lstrip": False, "normalized": False,
        "rstrip": False, "single_word": False, "special": True,
    }


def write_llama_tokenizer(
    folder: Path, size: int, extra: list[str], *, legacy: bool, files: tuple[str, ...],
    bos: str = "<s>", pad: str = "<pad>", old_json: bool = False, model: bytes | None = None,
) -> None:
    """`tokenizer.model` and/or `tokenizer.json` (`files`) with their `tokenizer_config.json`, as
    transformers wrote them for the hub's LLaMA checkpoints: `extra` tokens follow the `size` pieces.
    `old_json` writes tokenizer.json as transformers 4 did for legacy tokenizers: the prefix space
    by a normalizer, and merges as strings. `model` is a vocabulary of `size` pieces made elsewhere."""
    tokens = {str(i): added(token) for i, token in enumerate((*SPECIAL, *extra)) if i < 3}
    tokens |= {str(size + i): added(token) for i, token in enumerate(extra)}
    config = {
        "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": tokens,
        "bos_token": bos, "clean_up_tokenization_spaces": False,
        "eos_token": "</s>", "legacy": legacy, "model_max_length": 4096, "pad_token": pad,
        "padding_side": "left", "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>" if bos == "<s>" else "</s>", "use_default_system_prompt": False,
    }
    if pad == "<pad>":  # LLaVA-Next; InstructBLIP's processor knows its image token by itself
        config["image_token"] = "<image>"
        config["extra_special_tokens"] = {"image_token": "<image>"}
    write_json(folder / "tokenizer_config.json", config)
    (folder / "tokenizer.model").write_bytes(model or sentencepiece_model(size))
    if extra:
        write_json(folder / "added_tokens.json", {token: size + i for i, token in enumerate(extra)})
    if "tokenizer.json" in files:
        tokenizer = LlamaTokenizer.from_pretrained(folder)
        description = json.loads(tokenizer.backend_tokenizer.to_str())
        if old_json:
            description["pre_tokenizer"] = None
            description["normalizer"] = {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ]}
            merges = description["model"]["merges"]
            description["model"]["merges"] = [" ".join(merge) for merge in merges]
        write_json(folder / "tokenizer.json", description)
    if "tokenizer.model" not in files:
        (folder / "tokenizer.model").unlink()


def bert_vocabulary(size: int) -> list[str]:
    """WordPiece pieces of lower-cased words: special tokens, characters, their continuations, some
    endings, then the commonest words of TEXT, `size` in all."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    marks = "!\"'(),-.:;?[]{}\u96ea"
    endings = ["##s", "##ing", "##ed", "##er", "##ly", "##al", "##on", "##en", "##th", "##in", "##re", "##at", "##le"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *marks, *letters]
    pieces += ["##" + letter for letter in letters] + [e for e in endings if len(e) > 3]
    words = re.findall("[a-z]{2,}", TEXT.lower())
    commonest = sorted(set(words), key=lambda word: (-words.count(word), word))
    pieces += commonest[: size - len(pieces)]
    assert len(pieces) == size == len(set(pieces))
    return pieces


def write_bert_tokenizer(
    folder: Path, size: int, files: tuple[str, ...], pieces: list[str] | None = None
) -> None:
    """`qformer_tokenizer/`: `vocab.txt` and/or `tokenizer.json`, with the `[DEC]` of BLIP at the end.
    `pieces` is a vocabulary of `size` pieces made elsewhere."""
    folder.mkdir(parents=True)
    pieces = pieces or bert_vocabulary(size)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    tokens = {str(pieces.index(piece)): added(piece) for piece in special} | {str(size): added("[DEC]")}
    write_json(folder / "tokenizer_config.json", {
        "added_tokens_decoder": tokens, "bos_token": "[DEC]", "clean_up_tokenization_spaces": True,
        "cls_token": "[CLS]", "do_lower_case": True, "mask_token": "[MASK]",
        "model_max_length": 512, "pad_token": "[PAD]", "sep_token": "[SEP]",
        "strip_accents": None, "tokenize_chinese_chars": True, "tokenizer_class": "BertTokenizer",
        "truncation_side": "left", "unk_token": "[UNK]",
    })
    write_json(folder / "added_tokens.json", {"[DEC]": size})
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
    if "tokenizer.json" in files:
        tokenizer = BertTokenizer.from_pretrained(folder)
        write_json(folder / "tokenizer.json", json.loads(tokenizer.backend_tokenizer.to_str()))
    if "vocab.txt" not in files:
        (folder / "vocab.txt").unlink()
