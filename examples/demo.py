# %% [markdown]
# # A study of neurons
#
# A vision-language model answers questions from five visual domains: driving (`ad`), medicine (`med`), remote sensing
# (`rs`), everyday photographs (`com`) and documents (`doc`). Some neurons of its MLPs fire far more often in one
# domain than in the others. This notebook asks the model, looks at such neurons in a picture, switches them off,
# compares, and reads what every layer of the decoder would say.
#
# It runs in the checkout, on what `make demo` leaves in `.build/demo` (a model of 3.6 million parameters, and its
# study), and needs `pip install -e ./python matplotlib`. The same as a script is `demo.py`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import mmq
import numpy as np

root = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "models/demo/bench").is_dir())
bench = root / "models/demo/bench"
demo = root / ".build/demo/llava-next"
plt.rcParams.update({"figure.dpi": 72, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## Load
#
# `Model` starts `mmq session`, which keeps the model open and ends with this process. `Study` reads what `mmq
# activation`, `identify` and `generate` left in a study file.

# %%
model = mmq.Model(demo / "model-f16")
study = mmq.Study(demo / "study.sqlite")
print(model.architecture, "with", model.context_length, "positions")
for shape in model.modules.values():
    print(f"  {shape.name:<6} {shape.layers} layers of {shape.neurons} neurons")
print("counted:", ", ".join(f"{domain} ({study.counts(domain).samples} pictures)" for domain in study.domains))

# %% [markdown]
# ## Ask

# %%
questions = {
    "rs": ("rs/Data/500.png", "What is the number of buildings?"),
    "com": ("vqav2/val2014/COCO_val2014_000000300000.jpg", "How many balls are there?"),
    "doc": ("doc/images/documents/val0001_1.png", "Who signed the page?"),
}
figure, axes = plt.subplots(1, 3, figsize=(8, 2.6))
for axis, (domain, (picture, question)) in zip(axes, questions.items()):
    result = model.run(bench / picture, question, max_tokens=12)
    print(f"{domain}: {question} {result.text} ({result.prompt_tokens} tokens, {result.image_tokens} of the picture)")
    axis.imshow(plt.imread(bench / picture))
    axis.set_title(f"{question}\n{result.text}")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Look inside
#
# `sites` names modules or layers whose activations come back: one float32 array [tokens, neurons] a layer, straight
# from the pass that gave the answer. Of the vision tower these are every tile's class token and patches, the whole
# picture first.

# %%
picture, question = questions["com"]
result = model.run(bench / picture, question, sites=["mlp:vision", "mlp:lang"], max_tokens=1)
for site, values in result.sites.items():
    print(f"{site:<14} {values.dtype} {list(values.shape)}, {100 * (values > 0).mean():.0f} % above 0")

# %% [markdown]
# ## A heat map
#
# Where in a picture do the neurons of documents fire? The study has found them in every layer; here are those of the
# tower's first layer, over a document and over a photograph.

# %%
def patches(picture, question, layer=0):
    """Activations of a tower's layer over the whole picture, [rows, columns, neurons]."""
    site = f"mlp:vision.{layer}"
    values = model.run(bench / picture, question, sites=site, max_tokens=0).sites[site]
    side = 6  # 48 pixels in patches of 8; row 0 is the class token
    return values[1:1 + side * side].reshape(side, side, -1)


neurons = study.neurons()["vision"]["doc"][0]
figure, axes = plt.subplots(1, 4, figsize=(8, 2.2))
for place, domain in enumerate(["doc", "com"]):
    picture, question = questions[domain]
    share = (patches(picture, question)[:, :, neurons] > 0).mean(axis=2)
    axes[2 * place].imshow(plt.imread(bench / picture), aspect="auto")
    heat = axes[2 * place + 1].imshow(share, vmin=0, vmax=1, cmap="magma", aspect="auto")
    axes[2 * place + 1].set_title(f"{100 * share.mean():.0f} % fire")
    print(f"{domain}: {100 * share.mean():.0f} % of the {len(neurons)} neurons of documents fire at a patch")
for axis in axes:
    axis.axis("off")
figure.colorbar(heat, ax=axes, label="share that fires")
plt.show()

# %% [markdown]
# ## Find neurons
#
# `counts` has how often each neuron fired in a domain; `neurons` has the sets that `mmq identify` chose: neurons that
# fire often, and in few domains. `mmq.identify(study.path, top_rate=0.02, set="narrow")` would choose others.

# %%
rates = np.stack([study.counts(domain).rates("vision") for domain in study.domains])  # [domains, layers, neurons]
for domain in study.domains:
    sizes = [[len(layer) for layer in study.neurons()[module][domain]] for module in ("vision", "lang")]
    print(f"{domain:<4} vision {sizes[0]}, lang {sizes[1]}")

# %%
domain = "med"
found = study.neurons()["vision"][domain][0]
others = [place for place, name in enumerate(study.domains) if name != domain]
mine = study.domains.index(domain)
figure, axis = plt.subplots(figsize=(4, 3.4))
axis.scatter(rates[others, 0].max(axis=0), rates[mine, 0], s=6, color="silver", label="all")
axis.scatter(rates[others, 0][:, found].max(axis=0), rates[mine, 0, found], s=12, color="crimson",
             label=f"neurons of '{domain}'")
axis.set(xlabel="how often it fires in the domain that is nearest", ylabel=f"how often in '{domain}'",
         title="vision tower, layer 0")
axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0))
plt.show()

# %% [markdown]
# ## Mask them
#
# A mask says which neurons are off, or what else becomes of them. It holds in the towers and in every pass of the
# decoder. Whether a set matters is only clear next to as many neurons drawn by chance.

# %%
picture, question = questions["com"]


def by_chance(mask_of, seed):
    """As many neurons off in every layer as the set has, drawn by chance."""
    random = np.random.default_rng(seed)
    mask = mmq.Mask()
    for module, sets in study.neurons().items():
        for layer, indices in enumerate(sets[mask_of]):
            mask.off(module, layer, random.choice(model.modules[module].neurons, len(indices), replace=False))
    return mask


print(f"{question} {model.run(bench / picture, question).text}")
for domain in study.domains:
    mask = study.mask(domain)
    answers = [model.run(bench / picture, question, mask=by_chance(domain, seed)).text for seed in range(5)]
    print(f"  without {len(mask):>3} neurons of {domain:<3}: {model.run(bench / picture, question, mask=mask).text}, "
          f"without as many others: {', '.join(answers)}")

# %% [markdown]
# Off is not the only thing that can become of a neuron: `Intervention(scale, shift)` gives scale × activation +
# shift.

# %%
neurons = study.neurons()["vision"]["com"]
for scale in (1, 0.5, 0, -1, 3):
    mask = mmq.Mask()
    for layer, indices in enumerate(neurons):
        mask.set("vision", layer, indices, mmq.Intervention(scale=scale))
    print(f"scale {scale:>4}: {model.run(bench / picture, question, mask=mask).text}")

# %% [markdown]
# ## Compare
#
# One picture shows little. `mmq generate` answered all questions of the bench under several settings, and `scores`
# has each with its 95 % interval: no mask, the decoder's neurons of the questions' own domain off, those of all
# modules, and as many by chance.

# %%
scores = {(score["domain"], score["setting"]): score
          for score in study.scores(metric="official", judge="exact") if "choice texts" not in score["metric"]}
settings = ["none", "lang", "all", "random"]
print("domain " + "".join(f"{setting:>9}" for setting in settings) + "  (p of the difference between none and all)")
for domain in study.domains:
    line = "".join(f"{100 * scores[domain, setting]['score']['value']:9.1f}" for setting in settings)
    print(f"{domain:<7}{line}  ({scores[domain, 'all']['change']['p']:.2f})")

# %%
figure, axis = plt.subplots(figsize=(8, 2.8))
for place, setting in enumerate(settings):
    held = [scores[domain, setting]["score"] for domain in study.domains]
    values = np.array([100 * score["value"] for score in held])
    low, high = (np.array([100 * score["interval"][end] for score in held]) for end in ("low", "high"))
    axis.errorbar(np.arange(len(held)) + 0.15 * (place - 1.5), values, [values - low, high - values], fmt="o",
                  capsize=3, label=setting)
axis.set_xticks(range(len(study.domains)), study.domains)
axis.set(ylabel="score, 95 % interval")
axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0))
plt.show()

# %% [markdown]
# ## Look through the lens
#
# What would each layer say, if it were the last? `lens` puts every layer's output through the final norm and the
# head, at every position of the picture and the prompt.

# %%
picture, question = questions["doc"]
lens = model.lens(bench / picture, question, top=3)
print(question)
for layer in range(lens.layers):
    said = ", ".join(f"{word.strip('▁')} {100 * share:.0f} %" for word, share in lens.says(layer))
    print(f"  layer {layer}: {said} (entropy {lens.entropies[layer, -1]:.1f} nats)")

# %%
figure, axis = plt.subplots(figsize=(8, 1.9))
shown = axis.imshow(lens.entropies, aspect="auto", cmap="viridis")
first = np.flatnonzero(lens.is_image)[[0, -1]]
axis.set(yticks=range(lens.layers), ylabel="layer", xlabel=f"position (the picture: {first[0]} to {first[1]})",
         title="how undecided each layer is")
figure.colorbar(shown, label="entropy, nats")
plt.show()

# %% [markdown]
# Over a bench (`mmq logit-lens --bench`) the study keeps means per layer; as a table they go into pandas as they are:
# `pandas.DataFrame(study.lens())`.

# %%
table = study.lens()
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
for axis, kind in zip(axes, ["image", "text"]):
    for domain in study.domains:
        rows = (table["domain"] == domain) & (table["positions"] == kind) & (table["setting"] == "none")
        axis.plot(table["layer"][rows], 100 * table["agreement"][rows], "o-", label=domain)
    axis.set(title=f"{kind} positions", xlabel="layer", xticks=range(lens.layers))
axes[0].set_ylabel("same word as the last layer, %")
axes[1].legend(frameon=False)
plt.show()

# %%
model.close()

# %% [markdown]
# ## With a real model
#
# The same lines work for any LLaVA-Next, LLaVA-1.5 or InstructBLIP; a 7B model at four bits is 4.3 GB. Each step can
# be stopped, and goes on with the same call:
#
#     mmq.convert("path/to/llava-v1.6-vicuna-7b-hf", "llava-q4", type="q4_0", vision_type="q8_0")
#     mmq.activation("llava-q4", "bench", "study.sqlite", samples=500, progress=lambda line: print(line.text))
#     mmq.identify("study.sqlite", top_rate=0.02)
#     mmq.generate("study.sqlite", "llava-q4", "bench", masks=["none", "lang", "random"], greedy=True, samples=500)
#
# `bench` holds LingoQA, PMC-VQA, RSVQA, VQAv2 and DocVQA as they are downloaded (README, Data sets). Then
# `mmq.Model("llava-q4")` and `mmq.Study("study.sqlite")` take the places of the demo's above. What changes is the
# picture's grid: `patches` needs 24 × 24 patches of LLaVA's tower in place of 6 × 6. For other tools,
# `mmq.export(study, "export", format="parquet")` writes counts, neurons, answers, scores and lens as tables that
# pandas reads in one line.
