"""The Hugging Face folders of the demo models: configurations, tokenizers, processors, weights."""

import json
import math
from pathlib import Path

import torch
from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
)

from tools.common import processors
from tools.common.files import empty_folder, write_json
from tools.goldens.vocabulary import write_bert_tokenizer, write_llama_tokenizer

from . import vocabulary

ARCHITECTURES = ("llava-next", "instructblip")

TILE = 48  # pixels of one tile of LLaVA-Next
GRIDS = [[TILE * down, TILE * across] for down, across in ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1))]
SQUARE = 96  # pixels to which InstructBLIP's pictures are squashed
PATCH = 8
QUERIES = 36
IMAGE = {"llava-next": vocabulary.SENTENCE_PIECES, "instructblip": vocabulary.SENTENCE_PIECES + 1}

TEXT = dict(
    model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=256, intermediate_size=512,
    num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
    max_position_embeddings=2048, vocab_size=vocabulary.SENTENCE_PIECES + 64, rms_norm_eps=1e-5,
)
VISION = dict(hidden_size=128, intermediate_size=512, num_attention_heads=4, patch_size=PATCH)


def configuration(architecture: str, bert_size: int):
    common = {"tie_word_embeddings": False, "dtype": "float16"}
    if architecture == "llava-next":
        return LlavaNextConfig(
            architectures=["LlavaNextForConditionalGeneration"], image_grid_pinpoints=GRIDS,
            image_token_index=IMAGE[architecture], projector_hidden_act="gelu",
            text_config=TEXT | {"pad_token_id": IMAGE[architecture] + 1},
            vision_config=VISION | {
                "model_type": "clip_vision_model", "num_hidden_layers": 5, "image_size": TILE,
                "projection_dim": 64},
            vision_feature_layer=-2, vision_feature_select_strategy="default", **common)
    return InstructBlipConfig(
        architectures=["InstructBlipForConditionalGeneration"], image_token_index=IMAGE[architecture],
        num_query_tokens=QUERIES,
        text_config=TEXT | {"rms_norm_eps": 1e-6, "pad_token_id": vocabulary.SENTENCE_PIECES},
        qformer_config={
            "model_type": "instructblip_qformer", "hidden_size": 128, "intermediate_size": 256,
            "num_hidden_layers": 4, "num_attention_heads": 4, "cross_attention_frequency": 1,
            "encoder_hidden_size": VISION["hidden_size"], "vocab_size": bert_size + 1,
            "max_position_embeddings": 256},
        vision_config=VISION | {
            "model_type": "instructblip_vision_model", "num_hidden_layers": 4, "image_size": SQUARE},
        use_decoder_only_language_model=True, **common)


def write_texts(folder: Path, architecture: str, seed: int, old: Path | None = None) -> int:
    """Tokenizers and processors; returns the size of the BERT vocabulary (0 for LLaVA-Next). The vocabularies of
    the folder `old` are taken if there is one, new ones made if not."""
    empty_folder(folder)
    model = (old / "tokenizer.model").read_bytes() if old else vocabulary.sentencepiece_model(seed)
    files = ("tokenizer.json", "tokenizer.model")
    pieces, bert = vocabulary.SENTENCE_PIECES, []
    if architecture == "llava-next":
        write_llama_tokenizer(folder, pieces, ["<image>", "<pad>"], legacy=False, files=files, model=model)
        images, texts = processors.llava_next_images(TILE, GRIDS), processors.llava_next_texts(PATCH)
    else:
        write_llama_tokenizer(folder, pieces, ["[PAD]", "<image>"], legacy=False, files=files, model=model,
                              bos="</s>", pad="[PAD]")
        words = old and (old / "qformer_tokenizer" / "vocab.txt").read_text().splitlines()
        bert = words or vocabulary.word_pieces(seed)
        write_bert_tokenizer(folder / "qformer_tokenizer", len(bert), ("tokenizer.json", "vocab.txt"), bert)
        images, texts = processors.blip_images(SQUARE), processors.blip_texts(QUERIES)
    write_json(folder / "preprocessor_config.json", images)
    write_json(folder / "processor_config.json", texts)
    return len(bert)


def new_model(architecture: str, bert_size: int, seed: int):
    """A model with fresh weights, in float32."""
    torch.manual_seed(seed)
    config = configuration(architecture, bert_size)
    config._attn_implementation = "sdpa"
    kind = LlavaNextForConditionalGeneration if architecture == "llava-next" else InstructBlipForConditionalGeneration
    model = kind(config)
    begin(model)
    return model.float().eval()  # no dropout anywhere


@torch.no_grad()
def begin(model) -> None:
    """First weights for narrow layers. transformers' standard deviation of 0.02 is meant for thousands of columns:
    at 128, all scores of an attention are nearly equal, and a Q-Former that starts by seeing only the mean of the
    picture takes hours to look at places. So each product keeps the size of what goes in, and the places of the
    picture are told apart from the first step."""
    for name, weight in model.named_parameters():
        end = name.rsplit(".", 2)[-2:]
        if name.endswith("query_tokens"):  # transformers leaves them at zero, all alike
            side = math.isqrt(QUERIES)
            torch.nn.init.normal_(weight, std=0.2)
            weight.add_(waves(SQUARE // PATCH, weight.shape[2], centres(side)))
        elif "vision" in name and "position_embedding" in name:
            rows = weight.view(-1, weight.shape[-1])
            rows[1:] = waves(round(math.sqrt(len(rows) - 1)), rows.shape[1])  # the class token's comes first
        elif "embed" in end[0] and weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.3 if "qformer" in name else 0.1)
        elif weight.dim() > 1 and name.endswith(".weight"):
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)


def centres(parts: int) -> torch.Tensor:
    """Where the middles of `parts` equal parts of the picture lie, in patches, along one side."""
    return (torch.arange(parts) + 0.5) * (SQUARE // PATCH) / parts - 0.5


def waves(side: int, width: int, places=None) -> torch.Tensor:
    """[places * places, width]: sines and cosines of each place's row and column, as in "Attention Is All You
    Need". The places are all rows and columns of the picture, side x side, or given ones."""
    places = torch.arange(side) if places is None else places
    angles = places[:, None] * 2 * math.pi / side * 2 ** torch.linspace(-1, math.log2(side / 2), width // 4)
    one = torch.cat([angles.sin(), angles.cos()], 1)
    down, across = one[:, None].expand(-1, len(places), -1), one[None].expand(len(places), -1, -1)
    return torch.cat([down, across], 2).reshape(-1, width)


def save(model, folder: Path) -> None:
    """The weights in f16 with config.json and generation_config.json, beside what `write_texts` wrote."""
    half = {name: value.detach().to("cpu", torch.float16).contiguous()
            for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=half)
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": 1 if "Llava" in type(model).__name__ else 2,
        "eos_token_id": 2, "pad_token_id": model.config.text_config.pad_token_id,
        "transformers_version": json.loads((folder / "config.json").read_text())["transformers_version"]})
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
