"""The prompts round a question, as the official loader and generator write them, for both models."""

from .scenes import Asked

ROLE = (
    "Role: You are an advanced AI assistant installed on the Ego vehicle, equipped with conversational analysis "
    "capabilities for discussing autonomous driving scenarios. The perspective presented is from the point-of-view "
    "of the Ego vehicle, where the camera is mounted. It's important to note that the Ego vehicle itself is not "
    "visible in the images provided. Question: "
)
SINGLE = "\nAnswer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. USER: {} ASSISTANT:"
)


def full(domain: str, asked: Asked) -> str:
    """The prompt of the generation pass, without what stands for the picture."""
    if domain == "ad":
        return ROLE + asked.question
    if domain == "med":
        return f"Question: {asked.question}\nContext: N/A\nOptions: {asked.choices!r}\n\n{LETTER}"
    return f"Question: {asked.question}{SINGLE}"


def plain(domain: str, asked: Asked) -> str:
    """The question alone; lettered choices have to be told in some way."""
    return asked.question if domain != "med" else f"{asked.question} {', '.join(asked.choices)}"


def vicuna(text: str) -> str:
    """LLaVA-Next's prompt."""
    return VICUNA.format("<image>\n" + text)


def instruct(text: str) -> str:
    """InstructBLIP's prompt: the words alone."""
    return text.replace("Context: N/A", "").replace(SINGLE, " Short Answer:")
