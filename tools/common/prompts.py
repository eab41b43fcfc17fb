"""The prompts round a question, as the official loader and generator write them."""

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


def full(domain: str, question: str, choices: list | None = None) -> str:
    """The prompt of the generation pass, without what stands for the picture."""
    if domain == "ad":
        return ROLE + question
    if domain == "med":
        return f"Question: {question}\nContext: N/A\nOptions: {choices!r}\n\n{LETTER}"
    return f"Question: {question}{SINGLE}"


def vicuna(text: str) -> str:
    """LLaVA-Next's prompt."""
    return VICUNA.format("<image>\n" + text)


def instruct(text: str) -> str:
    """InstructBLIP's prompt: the words alone."""
    return text.replace("Context: N/A", "").replace(SINGLE, " Short Answer:")
