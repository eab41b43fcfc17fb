"""Trains the demo's models from scratch on drawn scenes and saves ordinary Hugging Face folders, f16.

    .build/venv/bin/python tools/demo train --arch llava-next --output models/demo/llava-next
        [--seed 1] [--steps N] [--until STEP] [--minutes M] [--threads 2] [--work FOLDER]

Scenes, questions and answers are drawn as training goes on, from the seed; the committed bench comes from other
seeds. Loss on the answer and the end token only. The first part of the steps trains the vision part alone, on
what is in the scene; the rest trains everything. With --work the state is kept there now and then, and a run
that was stopped goes on from it. Uses a GPU if torch finds one. Every few minutes it prints the share of
right answers to held-out scenes, per domain and kind of question.
"""

import json
import math
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoProcessor, AutoTokenizer, BertTokenizer

from tools.common.commands import parser

from . import folders, pixels, scenes
from .learners import Batch, Heads, InstructBlip, LlavaNext

HELD_OUT = 4242  # never the seed of training scenes
# LLaVA-Next's questions share their picture's tokens, so more of them cost little; a Q-Former reads the picture
# anew for each, so other pictures teach it more than other questions. It learns to read what the tower says at every
# place long before it finds what the tower says at one place only: so its tower is trained alone for longer.
#
# rates: from which step on, the greatest rate, and from which step to which it falls along half a cosine; in steps of
# `steps`. All that is trained together with a Q-Former wants a lower rate than a tower alone.
DEFAULTS = {
    "llava-next": {"steps": 1600, "alone": 560, "vision_pictures": 6, "pictures": 3, "questions": 6, "documents": 2,
                   "rates": [(0, 1e-3, 0, 1600)]},
    "instructblip": {"steps": 2200, "alone": 1100, "vision_pictures": 5, "pictures": 3, "questions": 2, "documents": 3,
                     "rates": [(0, 1e-3, 504, 2000), (1100, 4e-4, 504, 2000), (1400, 3e-4, 1400, 2200)]},
}


def draw_batch(architecture, domain, count, questions, draw_from, full_share=0.75) -> Batch:
    drawn = [scenes.DOMAINS[domain](draw_from) for _ in range(count)]
    values, size = pixels.prepare(architecture, domain, drawn)
    facts = torch.tensor([[scene.facts[name] for name in scenes.FACTS[domain]] for scene in drawn])
    asked = []
    for scene in drawn:
        chosen = draw_from.sample(scene.asked, min(questions, len(scene.asked)))
        asked.append([(one, draw_from.random() < full_share) for one in chosen])
    return Batch(domain, values, size, facts, asked)


class Run:
    def __init__(self, options):
        self.options = options
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        bert_size = folders.write_texts(options.output, options.arch, options.seed, options.texts)
        model = folders.new_model(options.arch, bert_size, options.seed)
        tokenizer = AutoTokenizer.from_pretrained(options.output)
        if options.arch == "llava-next":
            self.learner = LlavaNext(model, tokenizer, self.device)
        else:
            words = BertTokenizer.from_pretrained(options.output / "qformer_tokenizer")
            self.learner = InstructBlip(model, tokenizer, words, self.device)
        self.heads = Heads(self.learner.width).to(self.device)
        if options.arch == "instructblip":
            self.heads.queries = Heads(model.config.qformer_config.hidden_size).to(self.device)
        processor = AutoProcessor.from_pretrained(options.output)
        for domain, draw in scenes.DOMAINS.items():
            pixels.check(options.arch, processor, domain, draw(random.Random(options.seed)))
        decayed, plain = [], []
        for module in (model, self.heads):
            for name, value in module.named_parameters():
                (decayed if value.dim() > 1 and "embed" not in name else plain).append(value)
        self.parameters = decayed + plain
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": options.decay}, {"params": plain, "weight_decay": 0.0}],
            lr=options.rates[0][1], betas=(0.9, 0.98))
        self.step, self.aimed = 0, False
        self.started, self.earlier, self.used = time.time(), 0.0, 0.0
        if options.work:
            options.work.mkdir(parents=True, exist_ok=True)
            self.state = options.work / f"{options.arch}.pt"
            if self.state.exists():
                self.load()

    def load(self):
        state = torch.load(self.state, map_location=self.device)
        self.learner.model.load_state_dict(state["model"])
        missing = self.heads.load_state_dict(state["heads"], strict=False).missing_keys
        if not missing:  # else the state is of an earlier form of this script
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.earlier = state["step"], state["seconds"]
        self.used, self.aimed = state.get("used", 0.0), state.get("aimed", self.step > 0)
        print(f"going on from step {self.step}", flush=True)

    def keep(self):
        if not self.options.work:
            return
        part = self.state.with_suffix(".part")
        torch.save({"model": self.learner.model.state_dict(), "heads": self.heads.state_dict(),
                    "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds(),
                    "used": self.processor_seconds(), "aimed": self.aimed}, part)
        os.replace(part, self.state)

    def seconds(self) -> float:
        return self.earlier + time.time() - self.started

    def processor_seconds(self) -> float:
        return self.used + time.process_time()

    def progress(self) -> float:
        """From 0 to 1: by steps, or by processor time where --minutes is given and runs out first. Time that the
        machine gives to others does not count."""
        part = self.step / self.options.steps
        if self.options.minutes:
            part = max(part, self.processor_seconds() / (60 * self.options.minutes))
        return min(1.0, part)

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / min(100, max(1, self.options.steps // 10)))
        at = self.progress() * self.full
        peak, start, end = [piece[1:] for piece in self.options.rates if piece[0] <= at][-1]
        fallen = min(1.0, max(0.0, at - start) / (end - start))
        return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fallen)))

    @property
    def full(self) -> int:
        """The steps that `alone` and `rates` are counted in."""
        return DEFAULTS[self.options.arch]["steps"]

    def alone(self) -> bool:
        """Whether the vision part is still trained alone."""
        return self.progress() * self.full < self.options.alone - 0.5

    def train_step(self):
        options = self.options
        alone = self.alone()
        count = options.vision_pictures if alone else options.pictures
        if not alone and not self.aimed and options.arch == "instructblip":
            look_at = random.Random(f"{options.seed} aim")
            self.learner.aim([draw_batch(options.arch, domain, 12, 1, look_at) for domain in scenes.DOMAINS])
        self.aimed = not alone
        draw_from = random.Random(f"{options.seed} train {self.step}")
        more = {"com": 2, "doc": options.documents}  # counting and reading take longest to learn
        batches = [
            draw_batch(options.arch, domain, count * more.get(domain, 1), options.questions, draw_from)
            for domain in scenes.DOMAINS]
        features = self.learner.features(batches)
        total, facts, answers = 0.0, 0.0, 0.0
        for batch, some in zip(batches, features):
            loss, _, _ = self.heads(batch.domain, some, batch.facts.to(self.device))
            facts += loss.item() / len(batches)
            total = total + loss * (1.0 if alone else options.facts_weight)
            if not alone:
                loss, _ = self.learner.loss(batch, some)
                answers += loss.item() / len(batches)
                total = total + loss
                if options.arch == "instructblip":
                    total = total + options.queries_weight * self.learner.facts_loss(self.heads.queries, batch)[0]
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        (total / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        if hasattr(self.learner, "settle"):
            self.learner.settle()
        return facts, answers

    @torch.no_grad()
    def measure(self, pictures: int = 60) -> dict:
        """Share of right answers (once they are learnt) and facts per domain and kind, on scenes that training
        never draws."""
        found = {}
        for domain in scenes.DOMAINS:
            draw_from = random.Random(f"{HELD_OUT} {domain}")
            kinds, facts = defaultdict(list), defaultdict(list)
            for _ in range(pictures // 20):
                batch = draw_batch(self.options.arch, domain, 20, 9, draw_from, full_share=1.0)
                some, = self.learner.features([batch])
                _, *right = self.heads(domain, some, batch.facts.to(self.device))
                labels = ["", "'"]
                if self.options.arch == "instructblip":
                    self.learner.look(batch, some)
                    right += self.learner.facts_loss(self.heads.queries, batch)[1:]
                    labels += ["q", "q'"]
                for i, name in enumerate(scenes.FACTS[domain]):
                    for label, one in zip(labels, right):
                        facts[name + label] += [int(x) for x in one[:, i] if x >= 0]
                if self.alone():
                    continue
                _, right = self.learner.loss(batch, some)
                asked = [one for questions in batch.asked for one, _ in questions]
                for one, good in zip(asked, right.tolist()):
                    kinds[one.kind].append(good)
            found[domain] = {
                "facts": {name: sum(v) / len(v) for name, v in facts.items()},
                "answers": {name: sum(v) / len(v) for name, v in kinds.items()},
            }
        return found

    def report(self):
        for domain, found in self.measure().items():
            mean = sum(found["answers"].values()) / max(1, len(found["answers"]))
            parts = [" ".join(f"{name} {100 * v:.0f}" for name, v in found[key].items())
                     for key in ("answers", "facts")]
            print(f"    {domain:<4} {100 * mean:5.1f} %: {parts[0]} | facts: {parts[1]}", flush=True)

    def run(self):
        options, means = self.options, [0.0, 0.0, 0]
        parameters = sum(p.numel() for p in self.learner.model.parameters())
        print(f"{options.arch}: {parameters} parameters, {options.steps} steps on {self.device}", flush=True)
        while self.progress() < 1 and self.step != options.until:
            facts, answers = self.train_step()
            means = [means[0] + facts, means[1] + answers, means[2] + 1]
            self.step += 1
            done = self.progress() >= 1
            if self.step % options.log == 0 or done:
                print(f"step {self.step}  {self.seconds() / 60:.1f} min ({self.processor_seconds() / 60:.1f})  "
                      f"facts {means[0] / means[2]:.3f}  answers {means[1] / means[2]:.3f}", flush=True)
                means = [0.0, 0.0, 0]
            if self.step % options.report == 0 or done or self.step == options.until:
                self.report()
                self.keep()
        folders.save(self.learner.model, options.output)
        print(json.dumps({"steps": self.step, "minutes": round(self.seconds() / 60, 1),
                          "processor_minutes": round(self.processor_seconds() / 60, 1),
                          "parameters": parameters}))


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--arch", choices=folders.ARCHITECTURES, required=True)
    given.add_argument("--output", type=Path, required=True)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--steps", type=int)
    given.add_argument("--until", type=int, help="end at this step, as if stopped there; --work keeps the state")
    given.add_argument("--minutes", type=float, default=0,
                       help="of processor time: end after so long, if the steps take longer")
    given.add_argument("--alone", type=int, help="of the steps that are the default, those on the vision part alone")
    given.add_argument("--rates", type=json.loads, help="as in DEFAULTS, as JSON")
    given.add_argument("--vision-pictures", type=int, help="per domain and step, in that part")
    given.add_argument("--pictures", type=int, help="per domain and step, after it")
    given.add_argument("--questions", type=int, help="per picture")
    given.add_argument("--documents", type=int, help="times as many of them as of other domains' pictures")
    given.add_argument("--decay", type=float, default=0.05)
    given.add_argument("--facts-weight", type=float, default=0.3)
    given.add_argument("--queries-weight", type=float, default=1.0, help="of the facts read off the queries")
    given.add_argument("--threads", type=int, default=0)
    given.add_argument("--log", type=int, default=50)
    given.add_argument("--report", type=int, default=500)
    given.add_argument("--work", type=Path)
    given.add_argument("--texts", type=Path, help="take tokenizers from this folder in place of new ones")
    options = given.parse_args()
    for name, value in DEFAULTS[options.arch].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.threads:
        torch.set_num_threads(options.threads)
    Run(options).run()

