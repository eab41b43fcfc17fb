"""The settings of the picture processors, as the hub's checkpoints have them."""

# What CLIP's pictures are normalised by.
MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]

COMMON = {
    "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": MEAN, "image_std": DEVIATION, "resample": 3, "rescale_factor": 1 / 255,
}


def llava_next_images(side: int, grids: list[list[int]]) -> dict:
    """preprocessor_config.json: tiles of `side` pixels in `grids` of (height, width)."""
    return COMMON | {
        "aspect_ratio_setting": "anyres", "crop_size": {"height": side, "width": side},
        "do_center_crop": True, "do_pad": True, "image_grid_pinpoints": grids,
        "image_processor_type": "LlavaNextImageProcessor", "processor_class": "LlavaNextProcessor",
        "size": {"shortest_edge": side},
    }


def llava_next_texts(patch: int) -> dict:
    """processor_config.json."""
    return {
        "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": patch,
        "processor_class": "LlavaNextProcessor", "vision_feature_select_strategy": "default",
    }


def clip_images(side: int, edge: int) -> dict:
    """preprocessor_config.json of LLaVA-1.5: the shorter side resized to `edge`, the middle `side` pixels kept."""
    return COMMON | {
        "crop_size": {"height": side, "width": side}, "do_center_crop": True,
        "image_processor_type": "CLIPImageProcessor", "processor_class": "LlavaProcessor",
        "size": {"shortest_edge": edge},
    }


def llava_texts(patch: int, strategy: str) -> dict:
    """processor_config.json of LLaVA-1.5."""
    return llava_next_texts(patch) | {
        "processor_class": "LlavaProcessor", "vision_feature_select_strategy": strategy,
    }


def blip_images(side: int) -> dict:
    """preprocessor_config.json: pictures squashed to `side` x `side` pixels."""
    return COMMON | {
        "image_processor_type": "BlipImageProcessor", "processor_class": "InstructBlipProcessor",
        "size": {"height": side, "width": side},
    }


def blip_texts(queries: int) -> dict:
    """processor_config.json."""
    return {"num_query_tokens": queries, "processor_class": "InstructBlipProcessor"}
