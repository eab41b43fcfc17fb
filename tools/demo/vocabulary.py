"""The vocabularies of the demo models, made from their own questions and answers: SentencePiece BPE with
byte fallback, whose pieces may span words, so that a long instruction is a few tokens; BERT WordPiece."""

import random
import re
from collections import Counter

from tools.goldens.vocabulary import trained

from . import prompts
from .scenes import DOMAINS, Asked

SENTENCE_PIECES = 1024
LONGEST_PIECE = 96
WORD_PIECES = 512


def questions(seed: int, scenes: int = 400) -> list[tuple[str, Asked]]:
    """Every question, with every order of choices and every answer that turns up in many scenes."""
    draw_from = random.Random(seed)
    found = {}
    for domain, draw in DOMAINS.items():
        for _ in range(scenes):
            for asked in draw(draw_from).asked:
                found[domain, asked.question, tuple(asked.choices), asked.answer] = (domain, asked)
    return [found[key] for key in sorted(found)]


def texts(seed: int) -> tuple[Counter, list[str]]:
    """What stands round the picture in all prompts, as the tokenizer meets it (a blank in front where the
    tokenizer puts one), and the answers."""
    chunks, answers = Counter(), Counter()
    for domain, asked in questions(seed):
        for form in (prompts.full, prompts.plain):
            text = form(domain, asked)
            before, after = prompts.vicuna(text).split("<image>")
            for part in (" " + before, after, " " + prompts.instruct(text)):
                chunks.update(line for line in part.split("\n") if line)
        answers[" " + asked.answer] += 1
    return chunks, sorted(answers)


def sentencepiece_model(seed: int) -> bytes:
    """The bytes of `tokenizer.model`."""
    chunks, answers = texts(seed)
    # What stands in many prompts shall be few tokens; beyond a hundred it makes no difference.
    sentences = [chunk for chunk, count in sorted(chunks.items()) for _ in range(4 + min(count, 100))]
    sentences += [answer for answer in answers for _ in range(400)]
    proto = trained(
        sentences, SENTENCE_PIECES, character_coverage=1.0, add_dummy_prefix=False, split_by_whitespace=False,
        split_by_unicode_script=False, max_sentencepiece_length=LONGEST_PIECE)
    proto.normalizer_spec.add_dummy_prefix = True
    return proto.SerializeToString(deterministic=True)


def word_pieces(seed: int) -> list[str]:
    """Special tokens, single characters, their continuations, then the commonest words."""
    chunks, _ = texts(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    marks = "!\"'(),-./:;?[]{}"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *marks, *letters]
    pieces += ["##" + letter for letter in letters]
    words = Counter()
    for chunk in chunks:
        words.update({word: 1 for word in re.findall("[a-z0-9]{2,}", chunk.lower())})
    commonest = sorted(words, key=lambda word: (-words[word], word))
    return pieces + commonest[: WORD_PIECES - len(pieces)]
