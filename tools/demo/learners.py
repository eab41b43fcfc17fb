"""What training needs of each architecture: image features for a batch of pictures, and the loss over several
questions to each picture, through transformers' own modules."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from . import folders, prompts
from .scenes import FACTS, Asked

IGNORED = -100


@dataclass
class Batch:
    """Pictures of one domain with the questions to each."""
    domain: str
    pixels: torch.Tensor
    size: tuple[int, int]
    facts: torch.Tensor  # [pictures, facts]
    asked: list[list[tuple[Asked, bool]]]  # per picture: question, whether in the full prompt


class Heads(nn.Module):
    """Reads the facts of a scene off the image features; helps the vision part to learn, then is thrown away.
    Each fact is read twice: from a few places that the head finds by itself, which is soon learnt, and from the
    mean over all places, which makes the features say it everywhere."""

    LOOKS, PLACES, INNER = 4, 256, 128

    def __init__(self, width: int):
        super().__init__()
        count = {domain: len(facts) for domain, facts in FACTS.items()}
        self.norm = nn.LayerNorm(width)
        self.keys = nn.Linear(width, 32)
        self.looks = nn.ParameterDict({
            d: nn.Parameter(torch.randn(n * self.LOOKS, 32) * 0.2) for d, n in count.items()})
        self.places = nn.ParameterDict({
            d: nn.Parameter(torch.randn(n * self.LOOKS, self.PLACES)) for d, n in count.items()})
        self.local = nn.ModuleDict({d: nn.ModuleList(
            self.reader(width * self.LOOKS, classes) for classes in facts.values()) for d, facts in FACTS.items()})
        self.overall = nn.ModuleDict({d: nn.ModuleList(
            self.reader(width, classes) for classes in facts.values()) for d, facts in FACTS.items()})

    def reader(self, width: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, self.INNER), nn.GELU(), nn.Linear(self.INNER, classes))

    def forward(self, domain: str, features: torch.Tensor, facts: torch.Tensor):
        """The loss, and which facts the mean gave right: [pictures, facts], -1 where there is none."""
        features = self.norm(features)
        scores = self.keys(features) @ self.looks[domain].T + self.places[domain][:, :features.shape[1]].T
        seen = (scores.softmax(1).transpose(1, 2) @ features).unflatten(1, (-1, self.LOOKS)).flatten(2)
        mean = features.mean(1)
        loss, right, near = 0.0, [], []
        for i, (local, overall) in enumerate(zip(self.local[domain], self.overall[domain])):
            for kept, found in ((near, local(seen[:, i])), (right, overall(mean))):
                if (facts[:, i] >= 0).any():
                    loss = loss + nn.functional.cross_entropy(found, facts[:, i], ignore_index=-1)
                kept.append(torch.where(facts[:, i] < 0, -1, (found.argmax(1) == facts[:, i]).long()))
        return loss / (2 * len(right)), torch.stack(right, 1), torch.stack(near, 1)


def fit(linear: nn.Linear, rows: slice, given: torch.Tensor, wanted: torch.Tensor) -> None:
    """Sets rows of a linear layer so that it gives `wanted` [places, rows] for `given` [n, places, width], in the
    sense of least squares."""
    x = given.double().flatten(0, 1)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype, device=x.device)], 1)
    y = wanted.double().repeat(len(given), 1)
    ridge = 1e-3 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    found = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    linear.weight[rows] = found[:-1].T.float()
    linear.bias[rows] = found[-1].float()


class Learner:
    """Common to both; `tokenizer` is the model's own."""

    def __init__(self, model, tokenizer, device: str):
        self.model, self.tokenizer, self.device = model.to(device), tokenizer, device
        self.known: dict = {}

    def ids(self, text: str, tokenizer=None, special: bool = True) -> list[int]:
        key = text, tokenizer is None, special
        if key not in self.known:
            self.known[key] = (tokenizer or self.tokenizer)(text, add_special_tokens=special).input_ids
        return self.known[key]

    def answer(self, asked: Asked) -> list[int]:
        return self.ids(asked.answer, special=False) + [2]

    def head(self, states: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, count: int):
        """Loss and, per question, whether every answer token comes first (greedy decoding then gives this
        answer). `labels` [batch, length] belong to the states at the same place, `rows` name the question."""
        chosen = labels != IGNORED
        scores = self.model.lm_head(states[chosen]) if hasattr(self.model, "lm_head") else (
            self.model.get_output_embeddings()(states[chosen]))
        wanted = labels[chosen]
        loss = nn.functional.cross_entropy(scores, wanted)
        wrong = torch.zeros(count, device=states.device).index_add_(
            0, rows[chosen], (scores.argmax(1) != wanted).float())
        return loss, wrong == 0

    def padded(self, lists: list[list[int]], value: int) -> torch.Tensor:
        width = max(map(len, lists))
        return torch.tensor([row + [value] * (width - len(row)) for row in lists], device=self.device)


class LlavaNext(Learner):
    def __init__(self, model, tokenizer, device: str):
        super().__init__(model, tokenizer, device)
        self.inner = model.model
        self.image = model.config.image_token_index
        self.width = model.config.text_config.hidden_size

    def features(self, batches: list[Batch]) -> list[torch.Tensor]:
        """Per batch the packed image features, [pictures, image tokens, hidden]."""
        tower = self.inner.vision_tower
        pixels = torch.cat([batch.pixels.flatten(0, 1) for batch in batches]).to(self.device)
        states = tower.pre_layrnorm(tower.embeddings(pixels))
        for layer in tower.encoder.layers[:-1]:  # the feature is taken from the last but one
            states = layer(states, attention_mask=None)
        states = self.inner.multi_modal_projector(states[:, 1:])
        found = []
        for batch in batches:
            count = batch.pixels.shape[0] * batch.pixels.shape[1]
            part, states = states[:count], states[count:]
            part = part.view(*batch.pixels.shape[:2], *part.shape[1:])
            sizes = torch.tensor([batch.size] * len(part))
            packed, _ = self.inner.pack_image_features(
                part, sizes, "default", image_newline=self.inner.image_newline)
            found.append(torch.stack(list(packed)))
        return found

    def loss(self, batch: Batch, features: torch.Tensor):
        """All questions to a picture follow it in one row; none sees the others, and each has the positions
        it would have alone."""
        count, image = features.shape[:2]
        rows = []
        number = 0
        for questions in batch.asked:
            ids, segments, positions, labels, owners = [], [], [], [], []
            for place, (asked, is_full) in enumerate(questions):
                text = (prompts.full if is_full else prompts.plain)(batch.domain, asked)
                whole = self.ids(prompts.vicuna(text))
                at = whole.index(self.image)
                before, after = whole[:at], whole[at + 1:] + self.answer(asked)
                if not ids:
                    start = len(before) + image
                    ids = before + [self.image] * image
                    segments, positions = [0] * start, list(range(start))
                    labels, owners = [IGNORED] * start, [0] * start
                answer = len(self.answer(asked))
                ids += after
                segments += [place + 1] * len(after)
                positions += range(start, start + len(after))
                # Each state predicts the token after it.
                labels += [IGNORED] * (len(after) - answer - 1) + after[-answer:] + [IGNORED]
                owners += [number] * len(after)
                number += 1
            rows.append((ids, segments, positions, labels, owners))
        ids, segments, positions, labels, owners = (
            self.padded(list(column), value) for column, value in zip(zip(*rows), (0, -1, 0, IGNORED, 0)))
        embedded = self.inner.language_model.embed_tokens(ids)
        first = int((ids[0] == self.image).nonzero()[0])
        embedded = torch.cat([embedded[:, :first], features, embedded[:, first + image:]], 1)
        one, other = segments[:, :, None], segments[:, None, :]
        seen = ((other == 0) | (one == other)).tril()[:, None]
        states = self.inner.language_model(
            inputs_embeds=embedded, attention_mask=seen, position_ids=positions,
            use_cache=False).last_hidden_state
        return self.head(states, labels, owners, number)


class InstructBlip(Learner):
    def __init__(self, model, tokenizer, qformer_tokenizer, device: str):
        super().__init__(model, tokenizer, device)
        self.words = qformer_tokenizer
        self.core = getattr(model, "model", model)
        self.image = model.config.image_token_index
        self.width = model.config.vision_config.hidden_size

    def features(self, batches: list[Batch]) -> list[torch.Tensor]:
        """Per batch what the vision tower gives, [pictures, patches + 1, width]."""
        pixels = torch.cat([batch.pixels[:, 0] for batch in batches]).to(self.device)
        states = self.core.vision_model(pixels).last_hidden_state
        return list(states.split([len(batch.pixels) for batch in batches]))

    def look(self, batch: Batch, features: torch.Tensor):
        """What the queries bring for each question: texts, answers, [questions, queries, hidden]."""
        texts, answers, owners = [], [], []
        for picture, questions in enumerate(batch.asked):
            for asked, is_full in questions:
                texts.append(prompts.instruct((prompts.full if is_full else prompts.plain)(batch.domain, asked)))
                answers.append(self.answer(asked))
                owners.append(picture)
        words = [self.ids(text, self.words) for text in texts]
        queries = self.core.query_tokens.expand(len(texts), -1, -1)
        count = queries.shape[1]
        mask = self.padded([[1] * (count + len(row)) for row in words], 0)
        image = features[torch.tensor(owners, device=self.device)]
        self.owners = torch.tensor(owners, device=self.device)
        found = self.core.qformer(
            input_ids=self.padded(words, 0), attention_mask=mask, query_embeds=queries,
            encoder_hidden_states=image).last_hidden_state[:, :count]
        self.queries = found
        return texts, answers, found

    def loss(self, batch: Batch, features: torch.Tensor):
        texts, answers, found = self.look(batch, features)
        count = found.shape[1]
        projected = self.core.language_projection(found)
        rows = [self.ids(text) + answer for text, answer in zip(texts, answers)]
        labels = self.padded([
            [IGNORED] * (count + len(row) - len(answer) - 1) + answer + [IGNORED]
            for row, answer in zip(rows, answers)], IGNORED)
        decoder = getattr(self.core.language_model, "model", self.core.language_model)
        embedded = torch.cat([projected, decoder.embed_tokens(self.padded(rows, 0))], 1)
        # Rows are padded behind their end, where causal attention never looks.
        states = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        numbers = torch.arange(len(rows), device=self.device)[:, None].expand(labels.shape)
        return self.head(states, labels, numbers, len(rows))

    SHARPNESS = 1.0  # the patch itself starts with more than half of the weight

    @torch.no_grad()
    def aim(self, batches: list[Batch]) -> None:
        """Makes each head of each query look at a patch of its own, so that the queries bring all of the picture
        to the decoder from the first step. From scores that are all alike, a small Q-Former takes thousands of
        steps to find each thing that is written somewhere, or never does. The weights of queries and keys are
        fitted, layer by layer, to give the sines and cosines of the place that a query stands for, and of the
        place that a patch has."""
        features = torch.cat(self.features(batches))
        texts = [batch.asked[i][0] for batch in batches for i in range(len(batch.asked))]
        domains = [batch.domain for batch in batches for _ in batch.asked]
        words = [self.ids(prompts.instruct(prompts.full(domain, asked)), self.words)
                 for domain, (asked, _) in zip(domains, texts)]
        queries = self.core.query_tokens.expand(len(words), -1, -1)
        count, width = queries.shape[1:]
        mask = self.padded([[1] * (count + len(row)) for row in words], 0)
        side = folders.SQUARE // folders.PATCH
        seen = []
        for layer in self.core.qformer.encoder.layer:
            attention = layer.crossattention.attention
            hook = layer.crossattention.register_forward_pre_hook(
                lambda _, given, named: seen.append(given[0] if given else named["hidden_states"]), with_kwargs=True)
            self.core.qformer(input_ids=self.padded(words, 0), attention_mask=mask, query_embeds=queries,
                              encoder_hidden_states=features)
            hook.remove()
            heads = attention.num_attention_heads
            inner, parts = width // heads, math.isqrt(count * heads)
            place = folders.centres(parts)
            places = {"key": folders.waves(side, inner), "query": folders.waves(side, inner, place)}
            # [row, head's row, column, head's column] to [head, query]
            cells = math.isqrt(heads)
            own = places["query"].view(parts // cells, cells, parts // cells, cells, inner)
            own = own.permute(1, 3, 0, 2, 4).reshape(heads, count, inner)
            key = torch.cat([torch.zeros(1, inner), places["key"]])  # the class token has no place
            scale = math.sqrt(self.SHARPNESS * math.sqrt(inner))
            for head in range(heads):
                rows = slice(head * inner, (head + 1) * inner)
                fit(attention.key, rows, features, key.to(self.device) * scale)
                fit(attention.query, rows, seen[-1][:, :count], own[head].to(self.device) * scale)

    def facts_loss(self, heads: Heads, batch: Batch):
        """How well the queries of the last look carry what is in their picture, whatever was asked."""
        return heads(batch.domain, self.queries, batch.facts.to(self.device)[self.owners])

    def settle(self) -> None:
        """Keys have no bias in this tower, but the one vector of the three holds a place for it."""
        with torch.no_grad():
            for layer in self.core.vision_model.encoder.layers:
                layer.self_attn.qkv.bias.view(3, -1)[1] = 0
