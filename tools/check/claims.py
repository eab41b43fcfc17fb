"""What `mmq evaluate`, `identify` and `stability` say, computed anew from the exports with numpy alone.

    .build/venv/bin/python tools/check claims STUDY [--mmq PATH]

STUDY has answers under several settings (generate --masks matrix,random*20), counts in blocks (activation) and neuron
sets (identify, also --rule and --sweep). Scores are those of rs and com by MMNeuron's rules, which can be told from an
answer alone. Intervals come from mmq's own random numbers, made again here; halves and resamplings of blocks from
others, and have to agree as two samples do. Exits with 1 if a number differs, or if STUDY lacks what one of them is
computed from.
"""

import json
import math
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tools.common.commands import output_of, parser
from tools.common.dape import entropies
from tools.common.paths import MMQ

MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed: int, stream: int | None = None):
        if stream is not None:
            mixer = (seed + stream * 0xD1B54A32D192ED03) & MASK
            mixer ^= mixer >> 29
            seed = (mixer * 0xBF58476D1CE4E5B9) & MASK
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def many(self, count: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            z = np.uint64(self.state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            self.state = int(z[-1]) if count else self.state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))


def bootstrap(values: np.ndarray, draws: int, seed: int, stream: int = 0) -> np.ndarray:
    """Means of bootstrap samples of single values, from the same random numbers as mmq's."""
    if (values == values[0]).all():
        return np.full(draws, values[0])
    n = len(values)
    words = SplitMix64(seed, stream).many(draws * ((n + 1) // 2)).reshape(draws, -1)
    high = ((words >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
    low = ((words & np.uint64(0xFFFFFFFF)) * np.uint64(n)) >> np.uint64(32)
    places = np.stack([high, low], axis=-1).reshape(draws, -1)[:, :n].astype(int)
    return values[places].mean(axis=1)


def interval(draws: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(draws, [0.025, 0.975]))


def holm(p: list[float]) -> list[float]:
    order, least, found = sorted(range(len(p)), key=lambda i: p[i]), 0.0, [0.0] * len(p)
    for rank, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(p) - rank)))
        found[i] = least
    return found


def sign_test(differences: np.ndarray) -> float:
    moved = differences[differences != 0]
    m, rarer = len(moved), min((moved > 0).sum(), (moved < 0).sum())
    if 2 * rarer == m:
        return 1.0
    return min(1.0, 2 * sum(math.comb(m, k) for k in range(rarer + 1)) / 2**m)


def detectable(differences: np.ndarray) -> float:
    n = len(differences)
    share = [0.0, 1.0]
    for _ in range(60):
        q = sum(share) / 2
        power = 1 - sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(6))
        share[0 if power < 0.8 else 1] = q
    return max(2.801585218 * differences.std(ddof=1) / math.sqrt(n), share[1])


class Checker:
    def __init__(self):
        self.checked, self.wrong = 0, 0

    def near(self, what: str, got, want, tolerance: float = 1e-9) -> None:
        self.checked += 1
        if got is None or want is None or not abs(got - want) <= tolerance * max(1.0, abs(want)):
            self.wrong += 1
            print(f"{what}: mmq {got}, here {want}")

    def same(self, what: str, got, want) -> None:
        self.checked += 1
        if got != want:
            self.wrong += 1
            print(f"{what}: mmq {got}, here {want}")


def score(domain: str, line: dict) -> float:
    answer, truth = line["answer"], line["ground_truth"]
    if domain == "rs":
        truth = truth["answer"] if isinstance(truth, dict) else truth
        return float(answer.lower() == str(truth).lower())
    records = truth["answers"] if isinstance(truth, dict) else truth
    return float(any(r["answer"].lower() == answer.lower() for r in records if r["answer_confidence"] == "yes"))


def check_scores(folder: Path, found: dict, check: Checker) -> None:
    draws, seed = found["draws"], found["seed"]
    values = {}
    for domain in ("rs", "com"):
        for path in sorted((folder / "answers" / domain).rglob("*.jsonl")):
            name = str(path.relative_to(folder / "answers" / domain))[: -len(".jsonl")]
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            values[domain, name] = {
                line["index"]: score(domain, line) for line in lines if "problem" not in line}

    def differences(domain: str, setting: str) -> np.ndarray:
        base = values[domain, "none"]
        return np.array([x - base[i] for i, x in values[domain, setting].items() if i in base])

    def check_change(what: str, change: dict, domain: str, setting: str) -> None:
        d = differences(domain, setting)
        check.near(what + " difference", change["difference"], d.mean())
        low, high = interval(bootstrap(d, draws, seed))
        check.near(what + " low", change["interval"]["low"], low)
        check.near(what + " high", change["interval"]["high"], high)
        check.near(what + " p", change["p"], sign_test(d))
        check.near(what + " could show", change["detectable"], detectable(d), 1e-6)

    for item in found["scores"]:
        if (item["domain"], item["setting"]) not in values or item["form"] != "mmneuron":
            continue
        what = f"{item['domain']} {item['setting']}"
        check.near(what, item["score"]["value"], np.mean(list(values[item["domain"], item["setting"]].values())))
        if "change" in item:
            check_change(what, item["change"], item["domain"], item["setting"])
    shown = [i["change"] for i in found["scores"] if "change" in i and "#" not in i["setting"]]
    for change, p in zip(shown, holm([c["p"] for c in shown]), strict=True):
        check.near("Holm", change["holm"], p)

    for matrix in found["matrices"]:
        if matrix["form"] != "mmneuron":
            continue
        core, _, kind = matrix["setting"].partition(":")
        def name(of: str, on: str, core=core, kind=kind) -> str:
            return core + ("" if of == on else f"@{of}") + (":" + kind if kind else "")
        for row in matrix["rows"]:
            for bench, change in zip(matrix["benches"], row["changes"], strict=True):
                if change and bench in ("rs", "com"):
                    check_change(f"matrix {matrix['setting']} {row['domain']} on {bench}", change, bench,
                                 name(row["domain"], bench))
            own = row.get("specificity")
            if own is None:
                continue
            drops = {b: -c["difference"] for b, c in zip(matrix["benches"], row["changes"], strict=True) if c}
            others = [x for b, x in drops.items() if b != row["domain"]]
            check.near(f"specificity {matrix['setting']} {row['domain']}", own["value"],
                       drops[row["domain"]] - sum(others) / len(others))
    rows = [r["specificity"] for m in found["matrices"] for r in m["rows"] if r.get("specificity")]
    for row, p in zip(rows, holm([r["p"] for r in rows]), strict=True):
        check.near("Holm of specificity", row["holm"], p)

    for test in found["controls"]:
        if test["form"] != "mmneuron" or test["domain"] not in ("rs", "com"):
            continue
        what, core = f"{test['domain']} {test['setting']} among chance", test["setting"]
        prefix = test["control"] + ("" if core == "all" else "-" + core) + "#"
        names = sorted((s for d, s in values if d == test["domain"] and s.startswith(prefix)),
                       key=lambda s: int(s[len(prefix):]))
        effects = [differences(test["domain"], s).mean() for s in names]
        own = differences(test["domain"], core).mean()
        check.same(what, len(test["controls"]), len(effects))
        for got, want in zip(test["controls"], effects, strict=True):
            check.near(what, got, want)
        extreme = sum(x <= own + 1e-12 for x in effects)
        check.near(what + " p", test["p"], (1 + extreme) / (1 + len(effects)))
        check.near(what + " percentile", test["percentile"], (len(effects) - extreme) / len(effects))
    for test, p in zip(found["controls"], holm([t["p"] for t in found["controls"]]), strict=True):
        check.near("Holm of chance", test["holm"], p)


def select(tables: list[np.ndarray], rule: str, top: float, filter_rate: float, bar: float) -> list[np.ndarray]:
    """Flat indices of each domain's neurons, from [neurons] of values in each domain."""
    values = np.stack(tables, axis=1)
    ordered = np.sort(values.ravel())
    def quantile(rate: float) -> float:
        return ordered[round(len(ordered) * rate) - 1]
    above = (values > quantile(filter_rate)).any(axis=1)
    if rule == "dape":
        rank = entropies(values)
    else:
        greatest = values.max(axis=1)
        total = np.zeros(len(values))
        for column in values.T:
            total += column
        rank = (total - greatest) / (values.shape[1] - 1) - greatest
    rank = np.where(above, rank, np.inf)
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(rank, kind="stable")[: round(len(values) * top)]] = True
    return [np.flatnonzero(chosen & (values[:, d] > quantile(bar))) for d in range(values.shape[1])]


def check_counts(folder: Path, check: Checker) -> None:
    official = {p.stem: load_file(p) for p in sorted((folder / "activation").glob("*.safetensors"))}
    blocks = {p.stem: load_file(p) for p in sorted((folder / "blocks").glob("*.safetensors"))}
    for domain, held in blocks.items():
        modules = sorted({k.rsplit("_", 2)[0] for k in held if k.endswith("_log")})
        for module in modules:
            parts = [k[: -len("_log")] for k in held if k.startswith(module + "_") and k.endswith("_log")]
            check.same(f"{domain} {module} blocks", True, bool(np.array_equal(
                sum(held[p + "_log"].sum(axis=0) for p in parts), official[domain][module + "_log"])))
            check.same(f"{domain} {module} tokens", int(sum(held[p + "_len"].sum() for p in parts)),
                       int(official[domain][module + "_len"][0]))
    for path in sorted((folder / "mask").rglob("*.json")):
        found = json.loads(path.read_text())
        settings, module = found["settings"], found["module"]
        positions, rule = settings["positions"], settings["rule"]
        tables = []
        for domain in found["domains"]:
            if rule == "max" or positions != "all":
                kinds = [p for p in ("all", "image", "text") if f"{module}_{p}_log" in blocks[domain]
                         and positions in ("all", p)]
                held = blocks[domain]
                tokens = float(sum(held[f"{module}_{p}_len"].sum() for p in kinds))
                if rule == "max":
                    table = np.max([held[f"{module}_{p}_max"] for p in kinds], axis=0).astype(float)
                elif rule == "mean":
                    table = sum(held[f"{module}_{p}_value"] for p in kinds) / tokens
                else:
                    table = sum(held[f"{module}_{p}_log"].sum(axis=0) for p in kinds) / tokens
            else:
                held = official[domain]
                key = "_value" if rule == "mean" else "_log"
                table = held[module + key] / float(held[module + "_len"][0])
            shape = table.shape
            tables.append(table.ravel())
        sets = select(tables, rule, settings["top_rate"], settings["filter_rate"], settings["activation_bar"])
        for domain, chosen in zip(found["domains"], sets, strict=True):
            want = [[int(i) % shape[1] for i in chosen if i // shape[1] == layer] for layer in range(shape[0])]
            check.same(f"{path.relative_to(folder)} {domain}", found["neurons"][domain], want)


def check_stability(folder: Path, entries: list[dict], check: Checker) -> None:
    """The curve's end and the sizes of sets; that halves of blocks are alike as halves drawn here are."""
    for entry in entries:
        module, settings = entry["module"]["name"], entry["settings"]
        domains = [e["domain"] for e in entry["domains"]]
        held = [load_file(folder / "blocks" / f"{d}.safetensors") for d in domains]
        kinds = [p for p in ("all", "image", "text") if f"{module}_{p}_log" in held[0]
                 and settings["positions"] in ("all", p)]
        logs = [sum(h[f"{module}_{p}_log"] for p in kinds) for h in held]
        lens = [sum(h[f"{module}_{p}_len"] for p in kinds) for h in held]
        rates = settings["rule"], settings["topRate"], settings["filterRate"], settings["activationBar"]

        def sets(chosen: list[np.ndarray], logs=logs, lens=lens, rates=rates) -> list[set]:
            tables = [
                log[c].sum(axis=0).ravel() / float(n[c].sum()) for log, n, c in zip(logs, lens, chosen, strict=True)]
            return [set(map(int, s)) for s in select(tables, *rates)]

        whole = sets([np.arange(len(n)) for n in lens])
        random = np.random.default_rng(1)
        alike = [[] for _ in domains]
        kept = [dict.fromkeys(s, 0) for s in whole]
        draws = 200
        for _ in range(draws):
            orders = [random.permutation(len(n)) for n in lens]
            one, two = sets([o[: len(o) // 2] for o in orders]), sets([o[len(o) // 2:] for o in orders])
            again = sets([random.integers(0, len(n), len(n)) for n in lens])
            for d in range(len(domains)):
                if one[d] | two[d]:
                    alike[d].append(len(one[d] & two[d]) / len(one[d] | two[d]))
                for neuron in whole[d] & again[d]:
                    kept[d][neuron] += 1
        for d, row in enumerate(entry["domains"]):
            what = f"stability {module} {row['domain']}"
            check.same(what + " neurons", row["neurons"], len(whole[d]))
            check.same(what + " samples", row["samples"], int(held[d]["samples"].sum()))
            if alike[d]:
                # Other draws of the same halves: within five standard errors of both means.
                error = 5 * np.std(alike[d]) * math.sqrt(1 / draws + 1 / entry["draws"])
                check.near(what + " halves", row["halves"]["mean"], float(np.mean(alike[d])), error + 1e-9)
            if kept[d]:
                shares = np.array(list(kept[d].values())) / draws
                mine = [x for layer in row["kept"] for x in layer]
                check.near(what + " found again", float(np.mean(mine)), float(shares.mean()), 0.05)


def main() -> int:
    given = parser(__doc__)
    given.add_argument("study", type=Path)
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--draws", default="500", help="bootstrap samples of evaluate")
    options = given.parse_args()
    check = Checker()

    def mmq(command: str, *arguments: str) -> str:
        return output_of([options.mmq, command, "--study", options.study, *arguments])

    with tempfile.TemporaryDirectory() as work:
        mmq("export", "--output", work)
        folder = next(Path(work).iterdir())
        scores = json.loads(mmq("evaluate", "--metric", "mmneuron", "--json", "--draws", options.draws))
        stability = json.loads(mmq("stability", "--json", "--draws", "200"))
        for what, compare in [
            ("neuron sets from counts", lambda: check_counts(folder, check)),
            ("scores", lambda: check_scores(folder, scores, check)),
            ("stability", lambda: check_stability(folder, stability, check)),
        ]:
            before = check.checked
            compare()
            if check.checked == before:
                check.wrong += 1
                print(f"{what}: the study holds nothing to compare")
    print(f"{'FAIL' if check.wrong else 'PASS'}: {check.checked} numbers, {check.wrong} differ")
    return 1 if check.wrong else 0
