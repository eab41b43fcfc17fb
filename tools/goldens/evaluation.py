"""Tests/Golden/evaluation: thousands of drawn answer pairs with what the metrics' rules give.

The rules are those of VQAv2's vqaEval.py, the Robust Reading Competition's ANLS script, RSVQA's answer encoder,
PMC-VQA's two test scripts, LingoQA's evaluate.py, and MMNeuron's evaluate.py, written down here again in plain Python
so that Python itself (re, difflib, str, sums of floats) decides every quirk. Python 3.11 (Unicode 14).
"""

import difflib
import itertools
import math
import random
import re
import unicodedata
from fractions import Fraction
from pathlib import Path

from tools.common.distance import levenshtein
from tools.common.files import write_compact

MASK = (1 << 64) - 1

# --- VQAv2 ------------------------------------------------------------------------------------------------------------

CONTRACTIONS = dict(pair.split("=") for pair in """
aint=ain't arent=aren't cant=can't couldve=could've couldnt=couldn't couldn'tve=couldn't've couldnt've=couldn't've
didnt=didn't doesnt=doesn't dont=don't hadnt=hadn't hadnt've=hadn't've hadn'tve=hadn't've hasnt=hasn't havent=haven't
hed=he'd hed've=he'd've he'dve=he'd've hes=he's howd=how'd howll=how'll hows=how's Id've=I'd've I'dve=I'd've Im=I'm
Ive=I've isnt=isn't itd=it'd itd've=it'd've it'dve=it'd've itll=it'll let's=let's maam=ma'am mightnt=mightn't
mightnt've=mightn't've mightn'tve=mightn't've mightve=might've mustnt=mustn't mustve=must've neednt=needn't
notve=not've oclock=o'clock oughtnt=oughtn't ow's'at='ow's'at 'ows'at='ow's'at 'ow'sat='ow's'at shant=shan't
shed've=she'd've she'dve=she'd've she's=she's shouldve=should've shouldnt=shouldn't shouldnt've=shouldn't've
shouldn'tve=shouldn't've somebody'd=somebodyd somebodyd've=somebody'd've somebody'dve=somebody'd've
somebodyll=somebody'll somebodys=somebody's someoned=someone'd someoned've=someone'd've someone'dve=someone'd've
someonell=someone'll someones=someone's somethingd=something'd somethingd've=something'd've
something'dve=something'd've somethingll=something'll thats=that's thered=there'd thered've=there'd've
there'dve=there'd've therere=there're theres=there's theyd=they'd theyd've=they'd've they'dve=they'd've theyll=they'll
theyre=they're theyve=they've twas='twas wasnt=wasn't wed've=we'd've we'dve=we'd've weve=we've werent=weren't
whatll=what'll whatre=what're whats=what's whatve=what've whens=when's whered=where'd wheres=where's whereve=where've
whod=who'd whod've=who'd've who'dve=who'd've wholl=who'll whos=who's whove=who've whyll=why'll whyre=why're whys=why's
wont=won't wouldve=would've wouldnt=wouldn't wouldnt've=wouldn't've wouldn'tve=wouldn't've yall=y'all yall'll=y'all'll
y'allll=y'all'll yall'd've=y'all'd've y'alld've=y'all'd've y'all'dve=y'all'd've youd=you'd youd've=you'd've
you'dve=you'd've youll=you'll youre=you're youve=you've
""".split())
NUMBERS = dict(none="0", zero="0", one="1", two="2", three="3", four="4", five="5", six="6", seven="7", eight="8",
               nine="9", ten="10")
MARKS = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!"]
PERIOD = re.compile(r"(?!<=\d)(\.)(?!\d)")
COMMA = re.compile(r"(\d)(\,)(\d)")


def without_punctuation(text):
    out = text
    for mark in MARKS:
        goes = mark + " " in text or " " + mark in text or COMMA.search(text) is not None
        out = out.replace(mark, "" if goes else " ")
    # The third place of a pattern's sub() is the greatest number of replacements.
    return PERIOD.sub("", out, int(re.UNICODE))


def without_articles(text):
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def normalised(text):
    return without_articles(without_punctuation(text))


def trimmed(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def vqa(records, answer):
    """records: dicts with 'answer' and whatever else; they are compared whole."""
    records = [dict(record, answer=trimmed(record["answer"])) for record in records]
    answer = trimmed(answer)
    if len({record["answer"] for record in records}) > 1:
        for record in records:
            record["answer"] = normalised(record["answer"])
        answer = normalised(answer)
    parts = []
    for own in records:
        others = [record for record in records if record != own]
        parts.append(min(1, float(len([record for record in others if record["answer"] == answer])) / 3))
    return float(sum(parts)) / len(parts)


# --- DocVQA -----------------------------------------------------------------------------------------------------------


def collapsed(text):
    return " ".join(text.strip().lower().split())


def anls(answer, references):
    values = []
    for reference in references:
        length = max(len(reference.upper()), len(answer.upper()))
        distance = levenshtein(collapsed(reference), collapsed(answer))
        values.append(0.0 if length == 0 else float(distance) / float(length))
    score = 1 - min(values)
    return 0 if score < 0.5 else score


def anls_uncut(answer, references):
    """MMNeuron lower-cases both sides, then calls the package `anls` with threshold 1."""
    answer = collapsed(answer.lower())
    scores = []
    for reference in references:
        reference = collapsed(reference.lower())
        length = max(len(answer.upper()), len(reference.upper()))
        part = 0.0 if length == 0 else levenshtein(answer, reference) / length
        scores.append(1 - part if part < 1.0 else 0.0)
    return max(scores)


# --- RSVQA, PMC-VQA, LingoQA ------------------------------------------------------------------------------------------


def aerial_class(text):
    if text[-1:] in ("?", "."):
        text = text[:-1]
    out = []
    for token in text.split():
        token = token.lower()
        if token[-2:] == "m2":
            try:
                number = int(token[:-2])
            except ValueError:  # the original ends here
                number = 0
            for low, high in ((0, 10), (10, 100), (100, 1000)):
                if low < number <= high:
                    token = f"between {low}m2 and {high}m2"
                    break
            else:
                if number > 1000:
                    token = "more than 1000m2"
        out.append(token)
    return out


def most_similar(texts, target):
    best, index = 0, None
    for i, text in enumerate(texts):
        ratio = difflib.SequenceMatcher(None, text, target).ratio()
        if ratio > best:
            best, index = ratio, i
    return index


def by_letter(answer, label):
    return most_similar(["A", "B", "C", "D"], answer) == most_similar(["A", "B", "C", "D"], label)


def by_choices(answer, choices, label):
    return answer != "" and most_similar(choices, answer[-1]) == most_similar(choices, label)


def letters(answer, label):
    return sum(1 for c in answer if c in ["A", "B", "C", "D", "E"] and c == label)


def judge(question, reference, answer):
    """Stands in for Lingo-Judge in the goldens: any fixed rule shows which texts are put together."""
    return difflib.SequenceMatcher(None, reference, answer).ratio() - 0.5 - len(question) / 1000


def driving(rows):
    groups, any_row = {}, {}
    for row in rows:
        groups.setdefault((row["question_id"], row["segment_id"]), []).append(row)
        right = judge(row["question"], row["ground_truth"], row["answer"]) > 0
        any_row[row["question_id"]] = any_row.get(row["question_id"], False) or right
    official = 0
    for group in groups.values():
        answer = group[0]["answer"].lower().strip()
        official += max(judge(group[0]["question"], row["ground_truth"].lower().strip(), answer) for row in group) > 0
    return [len(groups), official / len(groups), len(any_row), sum(any_row.values()) / len(any_row)]


# --- Drawing ----------------------------------------------------------------------------------------------------------

WORDS = ("yes no red blue Blue dog Dogs a an the The two three TEN none zero one four 1 2 10 3.5 1,000 2,5 7. .5 00 "
         "dont don't cant isnt its wont shes he's youre y'all 'ows'at somebody'd ma'am oclock Im Ive let's weve cat on "
         "table left right person's black/white t-shirt (big) big? yes! \"stop\" stop. U.S.A. St. a.m. 12:30 #1 $5 50% "
         "@home A/C +1 =x [1] {y} <b> back\\slash under_score `tick` ; , . ? ! - ... a- -b "
         "Straße ÉTÉ été e\u0301te\u0301 ΟΔΟΣ ΣΑΣ Σ İstanbul ı ﬁn ǅ 日本 １２ ٣ ٣,٤ \u00bd ² Ⅷ 😀 👩\u200d🚀 ß "
         "\u00a0 \u2003 \u200b \u3000 \x1c \x85 ᾳ ŉ K Å ꭰ Ა ა").split(" ")


def variant(rng, text):
    """The same answer in another dress."""
    kind = rng.randrange(16)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.lower()
    if kind == 2:
        return text.title()
    if kind == 3:
        return rng.choice(["the ", "a ", "An ", "The "]) + text
    if kind == 4:
        return text + rng.choice([".", "!", "?", ",", " .", "..", " ,", ";"])
    if kind == 5:
        return rng.choice([" ", "\n", "\t", "\r\n", "\u00a0", "\x1f"]) + text + rng.choice([" ", "\n", ""])
    if kind == 6:
        return text.replace(" ", rng.choice(["-", "/", ", ", "  ", "\n", "_", " ,", ","]))
    if kind == 7:
        return text.replace("'", "")
    if kind == 8 and text:
        i = rng.randrange(len(text))
        return text[:i] + rng.choice("aeB1. -'éß") + text[i + rng.randrange(2):]
    if kind == 9 and text:
        i = rng.randrange(len(text))
        return text[:i] + text[i + 1:]
    return text


def cluster(rng):
    size = rng.choice([0, 1, 1, 1, 1, 2, 2, 3, 4, 6])
    base = " ".join(rng.choice(WORDS) for _ in range(size))
    return [base] + [variant(rng, variant(rng, base)) for _ in range(5)]


def long_text(rng):
    length = rng.choice([150, 198, 199, 200, 201, 250, 299, 300, 301, 400])
    alphabet = rng.choice(["ab", "abcdefgh ABCD", "".join(map(chr, range(32, 127))), "the answer is B. A?\u00e9"])
    return "".join(rng.choice(alphabet) for _ in range(length))


def pool(rng):
    clusters = [cluster(rng) for _ in range(200)]
    # More than 32 periods: the rest stay.
    clusters.append(["." * n for n in (1, 31, 32, 33, 40, 70)])
    clusters.append([". " * 20 + "a.", "a." * 33, "1." * 40, "1.x" * 34, "x.1" * 34, ", ." * 12])
    clusters.append(["couldn'tve", "Couldnt've", "ow's'at", "'ow'sat", "id've", "Id've"])
    longs = [long_text(rng) for _ in range(40)]
    return clusters, longs


def make(golden: Path) -> None:
    folder = golden / "evaluation"
    rng = random.Random(20240611)
    clusters, longs = pool(rng)
    short = [text for group in clusters for text in group]
    texts = short + longs

    def near():
        """The numbers of some texts, mostly dresses of one answer."""
        group = rng.randrange(len(clusters))
        numbers = list(range(6 * group, 6 * group + 6))
        if rng.random() < 0.3:
            numbers.append(rng.randrange(len(short)))
        return numbers

    everyday = []
    for case in range(3000):
        # Digits count within a cluster of six texts; 6 stands for one text from elsewhere.
        group, extra = rng.randrange(len(clusters)), rng.randrange(len(short))
        candidates = clusters[group] + [short[extra]]
        few = rng.sample(range(7), rng.choice([1, 2, 3, 4, 5, 7]))
        given = [rng.choice(few) for _ in range(10)]
        answer = rng.choice(few) if rng.random() < 0.5 else rng.randrange(7)
        confidence = "".join(rng.choice("yyyynm") for _ in range(10))
        # With answer_id every record differs; without it equal records leave together.
        with_id = case % 4 != 3
        names = {"y": "yes", "n": "no", "m": "maybe"}
        records = [dict(answer=candidates[n], answer_confidence=names[c]) for n, c in zip(given, confidence)]
        confident = [r["answer"].lower() for r in records if r["answer_confidence"] == "yes"]
        if with_id:
            records = [dict(record, answer_id=i + 1) for i, record in enumerate(records)]
        everyday.append([group, extra, "".join(map(str, given)), confidence, int(with_id), answer,
                         vqa(records, candidates[answer]), int(candidates[answer].lower() in confident)])

    documents = []
    for _ in range(2500):
        numbers = near()
        references = [rng.choice(numbers) for _ in range(rng.choice([1, 1, 2, 3]))]
        answer = rng.choice(numbers)
        arguments = texts[answer], [texts[n] for n in references]
        documents.append([answer, references, anls(*arguments), anls_uncut(*arguments)])

    ratios = []
    for case in range(2000):
        if case % 8 == 0:
            a, b = (rng.randrange(len(texts)), rng.randrange(len(short), len(texts)))
            if rng.random() < 0.3:
                a, b = b, a
        else:
            a, b = rng.choice(near()), rng.choice(near()) if rng.random() < 0.3 else None
            if b is None:
                b = rng.choice(list(range(a - a % 6, a - a % 6 + 6)))
        ratios.append([a, b, difflib.SequenceMatcher(None, texts[a], texts[b]).ratio()])

    medical = []
    phrases = ["A", "B", "C", "D", "(B)", " C", "D.", "A: lung", "The answer is B.", "Answer: C", "none", "", "a", "AB",
               "D D", "B or C", "CT scan", "E", "I think it is A", "D: MRI\n"]
    for _ in range(1500):
        answer = rng.choice(phrases) if rng.random() < 0.7 else rng.choice(texts)
        if rng.random() < 0.1:
            answer = rng.choice(longs)
        choices = [f" {letter}:{rng.choice(short)}" for letter in "ABCD"]
        letter = rng.choice(["A", "B", "C", "D", "A", "B", "C", "D", "E", rng.choice(short)])
        label = choices["ABCD".index(letter)] if letter in ("A", "B", "C", "D") else letter
        kept = [texts.index(answer)] if answer in texts else answer
        choice_numbers = [texts.index(choice[3:]) for choice in choices]
        medical.append([kept, choice_numbers, letter, int(by_letter(answer, letter)),
                        int(by_choices(answer, choices, label)), letters(answer, letter)])

    areas = ["0m2", "1m2", "10m2", "11m2", "100m2", "101m2", "1000m2", "1001m2", "123456m2",
             "99999999999999999999999m2", "-5m2", "+5m2", "1_000m2", "_1m2", "1_m2", "1__0m2", "5 m2", "5M2", "٣m2",
             "m2", "5.5m2", "5m2.", "5m2?", "between 0m2 and 10m2", "more than 1000m2", "²m2", "--5m2", "+-5m2"]
    plain = ["yes", "no", "Yes", "Yes.", "no?", "YES ", " yes", "0", "1", "12", "0.", "yes..", "", ".", "?",
             "yes, it is"]
    aerial = []
    for _ in range(1000):
        kind = rng.random()
        source = areas if kind < 0.5 else plain if kind < 0.8 else short
        answer, truth = rng.choice(source), rng.choice(source)
        if rng.random() < 0.3:
            answer = variant(rng, truth)
        aerial.append([answer, truth, int(aerial_class(answer) == aerial_class(truth)),
                       int(answer.lower() == truth.lower())])

    rows, drives = [], []
    for _ in range(12):
        rows = []
        for question in range(rng.choice([1, 5, 20])):
            numbers = near()
            for _ in range(rng.choice([1, 2, 2, 2, 3])):
                rows.append(dict(question_id=f"q{question % 15}", segment_id=f"s{question}",
                                 question="?" * rng.randrange(40), ground_truth=texts[rng.choice(numbers)],
                                 answer=texts[rng.choice(numbers)]))
        rng.shuffle(rows)
        drives.append([rows, driving(rows)])

    sign_tests = []
    for k, n in [(0, 1), (1, 1), (1, 2), (0, 5), (3, 10), (5, 10), (40, 100), (480, 1000), (10, 1000)]:
        tail = sum(Fraction(math.comb(n, i), 2 ** n) for i in range(min(k, n - k) + 1))
        sign_tests.append([k, n, float(min(Fraction(1), 2 * tail))])
    flips = []
    for n in (2, 3, 7, 12, 16):
        values = [0.25, -0.5] + [rng.choice([0, 1, -1, 0.3, -0.6, 0.9, 1 / 3]) for _ in range(n - 2)]
        sums = [sum(s * v for s, v in zip(signs, values)) for signs in itertools.product((1, -1), repeat=n)]
        flips.append([values, sum(abs(s) >= abs(sum(values)) - 1e-9 for s in sums) / len(sums)])

    # Many small differences: the exact distribution of the sum of sixths, by convolution.
    sixths = [rng.choice([-3, -2, -1, 1, 2, 3, 3]) for _ in range(60)]
    chances = {0: Fraction(1)}
    for value in sixths:
        after = {}
        for total, chance in chances.items():
            for s in (value, -value):
                after[total + s] = after.get(total + s, Fraction(0)) + chance / 2
        chances = after
    many = [[v / 6 for v in sixths],
            float(sum(c for total, c in chances.items() if abs(total) >= abs(sum(sixths))))]

    write_compact(folder / "answers.json", {
        "texts": texts, "normalised": [normalised(text) for text in texts],
        "everyday": everyday, "documents": documents, "ratios": ratios, "medical": medical, "aerial": aerial,
        "driving": drives, "sign tests": sign_tests, "flips": flips, "many flips": many,
    })
    write_compact(folder / "text.json", {"unicode": unicodedata.unidata_version, **characters(), "strings": [
        [text, text.lower(), len(text.upper()), text.strip(), text.split()]
        for text in ["Σ", "ΑΣ", "ΑΣ.", "ΑΣΑ", "Α.Σ", "Α\u00adΣ\u00adΑ", "Α\u00adΣ\u00ad", " Σ", "ΑΣ'Α", "ΑΣ Α", "1Σ",
                     "ʰΣ"]
        + rng.sample(short, 150)]})


def characters():
    """One running hash over characters for each property; beyond these planes no character has any."""
    hashes = dict(lower=0, upper=0, space=0, digit=0)
    for code in range(0x20000):
        if 0xD800 <= code < 0xE000:
            continue
        c = chr(code)
        values = dict(lower=sum((i + 1) * ord(x) for i, x in enumerate(c.lower())), upper=len(c.upper()),
                      space=int(c.isspace()), digit=unicodedata.decimal(c, -1) + 1)
        for name, value in values.items():
            hashes[name] = (hashes[name] * 31 + value) & MASK
    return {name: format(value, "016x") for name, value in hashes.items()}
