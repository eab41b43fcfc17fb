"""The models that there are goldens of, for tools that need no torch to know them."""

# Folders of Tests/Golden, each with the checkpoint that checks take: one that transformers 4.41 reads too.
CHECKPOINTS = {
    "llava-next": "llava-next/hub-f16",
    "instructblip": "instructblip/hub-f32",
    "llava-1.5": "llava-1.5/hub-f16",
}
# By the `model_type` of config.json.
ARCHITECTURES = {"llava_next": "llava-next", "instructblip": "instructblip", "llava": "llava-1.5"}
