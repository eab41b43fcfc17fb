"""Tests/Golden/text: small tokenizers in every layout that a checkpoint can have, and what transformers does with
them. SCHEMA.md there says what the files hold.

Where ../shared/data beside the repository has the real LLaMA and BERT vocabularies, it makes the goldens for those
too.
"""

import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import AutoTokenizer, LlamaTokenizer

from tools.common.files import empty_folder, write_compact, write_text
from tools.common.hashes import FNV_START, fnv1a, fnv1a_digits
from tools.common.paths import ROOT

SHARED = ROOT.parent / "shared" / "data"
MARK = "▁"

WORDS = """a the this that what which how many people dogs cats in on under image picture photo of is are
there shown left right top bottom red green blue white black small large two three four five yes no answer
question short human assistant user describe street car tree building water road river hospital patient
tissue cell scan document page number total date name what's don't isn't driver should slow stop turn why
because the vehicle ahead pedestrian crossing light traffic satellite area forest residential rural urban
counting present above below between near round square shape color colour object objects seen visible
text written sign board table chair person man woman child holding wearing sitting standing running""".split()


def corpus():
    rng = random.Random(7)
    lines = []
    for _ in range(3000):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 12))]
        line = " ".join(words)
        if rng.random() < 0.5:
            line = line[0].upper() + line[1:] + rng.choice([".", "?", "!", ":", ",", " ..."])
        if rng.random() < 0.1:
            line = line.replace(" ", "  ", 1)
        if rng.random() < 0.1:
            line += " " + str(rng.randint(0, 99999))
        lines.append(line)
    lines += ["über café naïve résumé é e\u0301 ñ", "ÄÖÜ äöü ß œuvre", "привет как дела это картинка",
              "你好 世界 图片", "日本語 の 画像", "aaaa aaaaa aaaaaaa bbbb ababab"] * 20
    return lines


def train():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, model_type="bpe", vocab_size=640,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.999, num_threads=1, split_digits=True, allow_whitespace_only_pieces=True,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, user_defined_symbols=["<mark>", "[x] y"])
    return model.getvalue()


def prompts():
    rng = random.Random(11)
    fixed = [
        "", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u0000", "a\u0000b", "a", " a", "a ", " a ", "  a  b  ",
        "Hello, world!", "What is in this picture?", "<image>\nWhat is shown?", "<image>", " <image>", "<image> ",
        "  <image>  ", "a<image>b", "a <image> b", "<image><image>", "<image> <image>", "\n<image>\n", "< image>",
        "<imag",
        "<image", "<<image>>", "<s>", "</s>", "<unk>", "<pad>", "[PAD]", "<s>a", "a<s>", "a <s> b", "<s> a", "</s></s>",
        " </s> ",
        "<s><s>hi</s> there", "x</s>\n", "<mark>", "a<mark>b", "[x] y", "a [x] y b", "[x]  y", "[x]▁y", "<0x0A>",
        "<0x41>", "a<0x41>b",
        "▁", "▁▁", "▁a", "a▁b", "▁ a", " ▁a", "a ▁", "▁the", "▁<s>", "<s>▁",
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. USER: <image>\nHow many dogs are there? ASSISTANT:",
        "Question: what is the man holding? Short answer:",
        "USER: <image>\n<image>\nCompare. ASSISTANT: yes</s>USER: ok ASSISTANT:",
        "é", "e\u0301", "éé\u0301", "n\u0303ñ", "café café cafe\u0301", "Å\u212bA\u030a", "ﬁ ﬀ ½ ① Ⅷ", "ＡＢＣ　ｄｅｆ",
        "ǅ ß ẞ İ ı ſ",
        "z\u0335\u0336a\u0300\u0316\u0301lgo", "\u0301", " \u0301", "a\u0301\u0301\u0301",
        "你好，世界！", "图片里有什么？", "日本語の画像です。", "한국어 텍스트", "가\u1100\u1161",
        "привет, как дела?", "שלום עולם", "مرحبا بالعالم",
        "हिन्दी में", "ไทย", "ქართული", "𠀀𠀁", "𝕳𝖊𝖑𝖑𝖔", "😀", "😀😀 😀", "👩‍👩‍👧‍👦",
        "👍🏽", "🏳️‍🌈", "🇩🇪🇫🇷", "a😀b", " 😀", "1️⃣",
        "\u200b", "a\u200bb", "\u200d", "\ufeffa", "a\ufeff", "\u00a0a\u00a0b", "\u3000a", "\u2028\u2029", "\u0085x",
        "\u00ad-\u00ad",
        "\ue000\uf8ff", "\U000f0000\U0010fffd", "\ufffd", "\ufffe\uffff", "\u0001\u0002\u001f\u007f\u009f", "\x1b[0m",
        "it's don't isn't I'm we've they're he'd", "1234567890", "3.14159", "1,000,000", "0x1F600", "a_b-c/d\\e",
        "a.b.c...", "?!?!",
        "https://example.org/a?b=c&d=e#f", "def f(x):\n    return x + 1\n", "\tindented\n\t\ttwice", "a\n\n\nb",
        "a \n b", "trailing newline\n",
        "{\"key\": [1, 2, null]}", "<|im_start|>user", "[INST] hi [/INST]", "###", "-----", "====", "~~~", "``` ```",
        "''\"\"", "“quoted” ‘x’ — – …",
        "€ £ ¥ ₿", "∑ ∫ √ ≠ ≤ ∞", "a\u0338=b", "x² y₃", "←↑→↓", "■□▢", "♠♥", "™®©", "aaaa", "aaaaa", "aaaaaaa",
        "aaaaaaaaaaaaaaaa", "abababab", "bbbbbbbb",
        "tHe ThE tHE", "UPPER lower MiXeD", "supercalifragilisticexpialidocious", "x" * 100, "x" * 101, "ab" * 64,
        " " * 17, " " * 64 + "a", "\n" * 9,
        "a " * 40, "the " * 50, "😀" * 20, "你" * 30, "[CLS]", "[SEP] a [MASK]", "a [UNK] b [DEC] c", "[DEC]", "[dec]",
        "##ing", "a##b", "don ' t", "hello .",
        " <X> ", "a <X> b", "a<X>b", "<X><X>", "  <X>  <X>  ", "word", "a word b", "words sword word", "word,word-word",
        "_word_", "wordé éword word\u0301",
        "Foo bar", "foo bar Foo  bar", "xFoo barx", "Foo▁bar", "▁Foo bar",
    ]
    pool = list("abcdefgh   \n.,'?!<>/▁éßñ你好😀\u0301\u200d\u00a0\t0123456789ABC") + [
        "<s>", "</s>", "<image>", "the ", "▁the", "<0x0A>"]
    fixed += ["".join(rng.choice(pool) for _ in range(rng.randint(1, 40))) for _ in range(60)]
    fixed += [" ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 15))) + rng.choice(["", "?", ".\n", " "])
              for _ in range(20)]
    return fixed


LONG = [("a", 100000), ("ab ", 33334), ("the picture of a dog, ", 4546), ("😀", 25000), ("你", 30000), (" ", 50000),
        ("<image>", 2928), ("é", 20000), ("supercalifragilistic", 5000)]
# The debug build of the tests takes its time.
SHORT = [(unit, count // 50) for unit, count in LONG]


# Layouts that differ little from another one: every fourth text.
BRIEF = {"llava-model-bare", "blip-model-plain", "blip-hub-old", "llava-saved", "blip-saved", "llava-first",
         "blip-model"}


def token(content, special=True, **flags):
    base = {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": special}
    return {**base, **flags}


class Folder:
    def __init__(self, root, name, model_type):
        self.path = empty_folder(root / name)
        self.name, self.model_type = name, model_type
        self.put("config.json", {"model_type": model_type})

    def has(self, name):
        return (self.path / name).exists()

    def put(self, name, value):
        if isinstance(value, bytes):
            (self.path / name).write_bytes(value)
        else:
            write_compact(self.path / name, value)

    def tokenizer(self):
        bare = not self.has("tokenizer.json") and self.has("tokenizer_config.json")
        if self.model_type == "llava_next" and bare:
            # AutoTokenizer takes a generic class here, which forgets the space in front of a text.
            tokenizer = LlamaTokenizer.from_pretrained(self.path)
        else:
            tokenizer = AutoTokenizer.from_pretrained(self.path)
        if self.model_type == "instructblip" and not hasattr(tokenizer, "image_token"):
            # InstructBlipProcessor.__init__
            tokenizer.add_tokens([AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
        return tokenizer


def rebuilt(tokenizer, merges, normalizer, pre_tokenizer, post, added, decoder_strip=True, **model):
    """A hub-style tokenizer.json with these parts."""
    old = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    bpe = BPE(vocab=old["vocab"], merges=[tuple(m) for m in merges], unk_token="<unk>", fuse_unk=True,
              byte_fallback=True, **model)
    new = Tokenizer(bpe)
    if normalizer is not None:
        new.normalizer = normalizer
    if pre_tokenizer is not None:
        new.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    new.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if decoder_strip else []))
    new.add_tokens([AddedToken(**t) for t in added])
    if post:
        new.post_processor = processors.TemplateProcessing(
            single=f"{post} $A", pair=f"{post} $A {post}:1 $B:1", special_tokens=[(post, new.token_to_id(post))])
    return json.loads(new.to_str())


def merge_order(tokenizer, order):
    """The merges as older converters sorted them."""
    old = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocab = old["vocab"]
    merges = [tuple(m) for m in old["merges"]]
    if order == "leftID":
        return sorted(merges, key=lambda m: (vocab[m[0] + m[1]], vocab[m[0]], vocab[m[1]]))
    if order == "longerLeft":
        return sorted(merges, key=lambda m: (vocab[m[0] + m[1]], -len(m[0])))
    if order == "shuffled":
        # Only the order within groups of 8 ranks changes, so that text still becomes long pieces.
        rng = random.Random(3)
        out = []
        for i in range(0, len(merges), 8):
            group = merges[i:i + 8]
            rng.shuffle(group)
            out += group
        return out
    return merges


def legacy():
    return normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])


def make_folders(root, spm):
    special = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
    base = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "add_bos_token": True, "add_eos_token": False}
    folders = []

    def new(name, model_type, configuration, files):
        folder = Folder(root, name, model_type)
        if configuration is not None:
            folder.put("tokenizer_config.json", configuration)
        for key, value in files.items():
            folder.put(key, value)
        folders.append(folder)
        return folder

    # tokenizer.model only
    model = new("llava-model", "llava_next",
                {**base, "legacy": True, "pad_token": "<pad>", "added_tokens_decoder": {
                    **special, "640": token("<image>"), "641": token("<pad>", special=False, normalized=True)}},
                {"tokenizer.model": spm})
    source = model.tokenizer()
    new("llava-model-bare", "llava_next", None, {"tokenizer.model": spm})
    vicuna = {"bos_token": token("</s>"), "eos_token": token("</s>"), "unk_token": token("</s>"), "pad_token": "[PAD]"}
    for t in vicuna.values():
        if isinstance(t, dict):
            t.pop("special")
    new("blip-model", "instructblip", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True},
        {"tokenizer.model": spm, "added_tokens.json": {"[PAD]": 640}, "special_tokens_map.json": vicuna})
    new("blip-model-plain", "instructblip", {**base, "legacy": False, "add_eos_token": True, "add_prefix_space": False},
        {"tokenizer.model": spm})

    # tokenizer.json of the hub: legacy, merges as strings in the oldest order
    added = [{**token("<unk>")}, {**token("<s>")}, {**token("</s>")}]
    image = [token("<image>"), token("<pad>", special=True)]
    hub = rebuilt(source, merge_order(source, "leftID"), legacy(), None, "<s>", added + image)
    hub["model"]["merges"] = [" ".join(m) for m in hub["model"]["merges"]]
    new("llava-legacy", "llava_next",
        {**base, "legacy": False, "pad_token": "<pad>", "model_max_length": 4096, "truncation_side": "left",
         "added_tokens_decoder": {**special, "640": token("<image>"), "641": token("<pad>")}},
        {"tokenizer.json": hub})
    # non-legacy, merges as arrays, longer left part first, bos normalized and without flags in the configuration
    first = rebuilt(source, merge_order(source, "longerLeft"), None,
                    pre_tokenizers.Metaspace(prepend_scheme="first", split=False), "<s>", added + image[:1])
    new("llava-first", "llava_next",
        {"tokenizer_class": "TokenizersBackend", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
         "extra_special_tokens": ["<X>"], "image_token": "<image>", "clean_up_tokenization_spaces": True},
        {"tokenizer.json": first})
    # every flag of added tokens; merges that no scores lead to; cut at markers
    flags = added + [token("<X>", lstrip=True, rstrip=True), token("word", special=False, single_word=True),
                     token("Foo bar", special=False, normalized=True), token("<image>", rstrip=True)]
    odd = rebuilt(source, merge_order(source, "shuffled"), normalizers.Replace("ß", "ss"),
                  pre_tokenizers.Metaspace(prepend_scheme="always", split=True), None, flags, decoder_strip=False)
    odd["decoder"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
    odd["truncation"] = {"direction": "Left", "max_length": 77, "strategy": "LongestFirst", "stride": 0}
    new("llava-flags", "llava_next", {**base, "pad_token": None}, {"tokenizer.json": odd})
    normal = rebuilt(source, merge_order(source, "shorterLeft"), legacy(), None, "<s>",
                     [token("<unk>"), token("<s>", normalized=True), token("</s>", normalized=True),
                      token("Foo bar", special=False, normalized=True)],
                     ignore_merges=True)
    new("llava-normalized", "llava_next",
        {**base, "split_special_tokens": False, "added_tokens_decoder": {"2": token("</s>")}},
        {"tokenizer.json": normal})

    # InstructBLIP as on the hub: the file says legacy, transformers builds it anew
    blip = rebuilt(source, merge_order(source, "longerLeft"), legacy(), None, "</s>",
                   added + [token("[PAD]"), token("<image>")])
    vicuna_tokens = {**special, "640": token("[PAD]"), "641": token("<image>")}
    hub_blip = new("blip-hub", "instructblip",
                   {"tokenizer_class": "LlamaTokenizer", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>",
                    "pad_token": "[PAD]", "legacy": True, "add_bos_token": True, "added_tokens_decoder": vicuna_tokens,
                    "padding_side": "left"},
                   {"tokenizer.json": blip})
    old = {"__type": "AddedToken", **{k: v for k, v in token("</s>", normalized=True).items() if k != "special"}}
    new("blip-hub-old", "instructblip", {"tokenizer_class": "LlamaTokenizerFast", "bos_token": old, "eos_token": old,
                                         "unk_token": old, "legacy": None},
        {"tokenizer.json": blip})
    # saved by transformers 5
    saved = Folder(root, "blip-saved", "instructblip")
    hub_blip.tokenizer().save_pretrained(saved.path)
    folders.append(saved)
    saved = Folder(root, "llava-saved", "llava_next")
    model.tokenizer().save_pretrained(saved.path)
    folders.append(saved)
    return folders


def compact(folders):
    """JSON without indentation: the repository is to stay small."""
    for folder in folders:
        for path in sorted(folder.path.glob("*.json")):
            write_compact(path, json.loads(path.read_text(encoding="utf-8")))


def record(tokenizer, texts, vocabulary, every=1, long=SHORT):
    """What the tokenizer does with every so-manieth text."""
    rng = random.Random(5)
    ids = {i: tokenizer(texts[i])["input_ids"] for i in range(0, len(texts), every)}
    streams = [[rng.randrange(vocabulary) for _ in range(rng.randint(1, 12))] for _ in range(20)]

    def byte(b):
        return tokenizer.convert_tokens_to_ids(f"<0x{b:02X}>")

    if tokenizer.backend_tokenizer.token_to_id("<0x41>") is not None:
        one = tokenizer.convert_tokens_to_ids("a")
        for text in ["😀", "é", "你好"]:
            data = [byte(b) for b in text.encode()]
            streams += [data, data[:-1], data + [one], data[:-1] + [one] + data[-1:], [one] + data[1:],
                        data + data[:1] + [one], data + [tokenizer.eos_token_id] + data]
        streams += [[byte(0)], [byte(255), byte(65)], [byte(0xED), byte(0xA0), byte(0x80)],
                    [byte(0xF4), byte(0x90), byte(0x80), byte(0x80)], [byte(0xC0), byte(0x80)]]
    streams += [[], [vocabulary + 1000, 5], [3, vocabulary + 7, 5]]
    some = range(0, len(texts), 3 * every)
    return {
        "every": every,
        "ids": list(ids.values()),
        "plain": {str(i): tokenizer(texts[i], add_special_tokens=False)["input_ids"] for i in range(0, len(texts), 9)},
        "decoded": {str(i): [tokenizer.decode(ids[i]),
                             tokenizer.decode(ids[i], skip_special_tokens=True)] for i in some},
        "streams": [[s, tokenizer.decode(s), tokenizer.decode(s, skip_special_tokens=True)] for s in streams],
        "long": [[u, n, len(x), fnv1a_digits(x)] for u, n in long for x in [tokenizer(u * n)["input_ids"]]],
        "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "unk": tokenizer.unk_token_id,
        "pad": tokenizer.pad_token_id,
    }


def bert_record(tokenizer, texts, every):
    result = record(tokenizer, texts, len(tokenizer), every)
    long = ["a b c d e " * 150, "word " * 510, "word " * 511]
    result["truncated"] = [tokenizer(t, truncation=True)["input_ids"] for t in texts[60:80] + long[1:]]
    result["truncatedTexts"] = texts[60:80] + long[1:]
    result["cut"] = [[n, tokenizer("one two three four five six", truncation=True,
                                   max_length=n)["input_ids"]] for n in range(2, 9)]
    return result


def make_bert(texts, root, vocabulary):
    """The Q-Former's tokenizer beside an InstructBLIP folder, in three layouts."""
    cases = {}

    def add(name, configuration, files):
        path = empty_folder(root / name / "qformer_tokenizer")
        write_compact(path / "tokenizer_config.json", configuration)
        for key, value in files.items():
            if isinstance(value, str):
                write_text(path / key, value)
            else:
                write_compact(path / key, value)
        tokenizer = AutoTokenizer.from_pretrained(root / name, subfolder="qformer_tokenizer")
        cases[name] = bert_record(tokenizer, texts, 1 if name == "bert-vocab" else 3)
        return tokenizer

    configuration = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "truncation_side": "left",
                     "model_max_length": 512,
                     "bos_token": "[DEC]", "clean_up_tokenization_spaces": True}
    first = add("bert-vocab", configuration,
                {"vocab.txt": vocabulary, "added_tokens.json": {"[DEC]": vocabulary.count("\n")}})
    backend = json.loads(first.backend_tokenizer.to_str())
    add("bert-json", {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "truncation_side": "left",
                      "model_max_length": 512,
                       "strip_accents": False,
                       "added_tokens_decoder": {str(t["id"]): {k: v for k,
                           v in t.items() if k != "id"} for t in backend["added_tokens"]}},
         {"tokenizer.json": backend})
    backend["normalizer"]["lowercase"] = False
    backend["normalizer"]["handle_chinese_chars"] = False
    add("bert-backend", {"tokenizer_class": "TokenizersBackend", "model_max_length": 512, "unk_token": "[UNK]"},
        {"tokenizer.json": backend})
    return cases


def small_bert_vocabulary():
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = (
        "abcdefghijklmnopqrstuvwxyz0123456789.,?!'\"-_/\\:;()[]{}<>@#$%&*+=~`|^"
        "éßñıприветкадляуй你好世界图片日本語の画像です한국어“”‘’—–…€£"
    )
    for c in letters:
        pieces += [c, "##" + c]
    for w in sorted(set(WORDS)):
        w = w.lower()
        if w.isalpha():
            pieces.append(w)
    pieces += ["##ing", "##s", "##ed", "##ment", "un", "re", "cafe", "na", "##ive", "##ume"]
    seen = dict.fromkeys(pieces)
    return "\n".join(seen) + "\n"


def scalars():
    """What BERT's normalizer does with every Unicode scalar."""
    def only(flag):
        off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
        return normalizers.BertNormalizer(**off | {flag: True})

    clean, chinese, accents = only("clean_text"), only("handle_chinese_chars"), only("strip_accents")
    words = pre_tokenizers.BertPreTokenizer()
    sets = {"dropped": [], "space": [], "chinese": [], "mark": [], "punctuation": []}
    value = FNV_START
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        c = chr(code)
        cleaned = clean.normalize_str("a" + c + "b")
        if cleaned == "ab":
            sets["dropped"].append(code)
        if cleaned == "a b":
            sets["space"].append(code)
        if chinese.normalize_str(c) != c:
            sets["chinese"].append(code)
        stripped = accents.normalize_str("a" + c)[1:]
        if stripped == "":
            sets["mark"].append(code)
        if len(words.pre_tokenize_str("a" + c + "b")) == 3:
            sets["punctuation"].append(code)
        value = fnv1a(stripped.encode() + b"\n", value)

    def ranges(codes):
        out = []
        for code in codes:
            if out and out[-1][1] == code - 1:
                out[-1][1] = code
            else:
                out.append([code, code])
        return out

    return {**{k: ranges(v) for k, v in sets.items()}, "stripped": f"{value:016x}"}


def by_score(tokenizer, spm):
    """The merges as the converters of transformers 4.35 sorted them: by the real scores, in which
    LLaMA's runs of spaces come last."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(spm)
    scores = {p.piece: p.score for p in proto.pieces}
    return sorted(merge_order(tokenizer, "leftID"), key=lambda m: scores[m[0] + m[1]], reverse=True)


def make_real(out, root, texts):
    """Goldens for the real vocabularies; the vocabularies themselves are not committed."""
    spm = (SHARED / "llama-tokenizer.model").read_bytes()
    special = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
    base = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "add_bos_token": True}
    real = {}

    def run(name, model_type, configuration, extra=None):
        folder = Folder(root, name, model_type)
        folder.put("tokenizer_config.json", configuration)
        folder.put("tokenizer.model", spm)
        for key, value in (extra or {}).items():
            folder.put(key, value)
        tokenizer = folder.tokenizer()
        real[name] = {"model": model_type, "files": {"tokenizer_config.json": configuration, **(extra or {})},
                      **record(tokenizer, texts, 32002)}
        return tokenizer

    source = run("real-llava", "llava_next", {**base, "pad_token": "<pad>", "added_tokens_decoder": {
        **special, "32000": token("<image>"), "32001": token("<pad>")}})
    run("real-blip", "instructblip", {**base, "legacy": True, "bos_token": "</s>", "unk_token": "</s>",
                                      "pad_token": "[PAD]",
                                      "added_tokens_decoder": {**special, "32000": token("[PAD]"),
                                          "32001": token("<image>")}})
    run("real-blip-first", "instructblip", {**base, "legacy": False, "bos_token": "</s>", "pad_token": "[PAD]"},
        {"added_tokens.json": {"[PAD]": 32000}})
    # The layout of llava-hf: tokenizer.json with the legacy normalizer. The tests build it from
    # plain GGUF tables, which mean the same.
    folder = Folder(root, "real-legacy", "llava_next")
    folder.put("tokenizer_config.json", base)
    added = [token("<unk>"), token("<s>"), token("</s>"), token("<image>"), token("<pad>")]
    folder.put("tokenizer.json", rebuilt(source, by_score(source, spm), legacy(), None, "<s>", added))
    real["real-legacy"] = {"model": "plain", "files": {}, **record(folder.tokenizer(), texts, 32002, long=LONG)}
    write_compact(out / "real-llama.json", real)

    vocabulary = (SHARED / "bert-vocab.txt").read_text(encoding="utf-8")
    cases = make_bert(texts, root, vocabulary)
    write_compact(out / "real-bert.json", {"bert-vocab": cases["bert-vocab"]})


def make(golden: Path) -> None:
    assert transformers.__version__.startswith("5.23"), transformers.__version__
    out, texts = golden / "text", prompts()
    write_compact(out / "prompts.json", texts)
    folders = make_folders(out / "folders", train())
    compact(folders)
    write_compact(out / "llama.json", {
        f.name: {"model": f.model_type, **record(f.tokenizer(), texts, 645, 4 if f.name in BRIEF else 1, SHORT)}
        for f in folders})
    write_compact(out / "bert.json", make_bert(texts, out / "folders", small_bert_vocabulary()))
    write_compact(out / "scalars.json", scalars())
    if (SHARED / "llama-tokenizer.model").exists():
        with tempfile.TemporaryDirectory() as root:
            make_real(out, Path(root), texts)
