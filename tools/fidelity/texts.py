"""Plain English to run a language model on: seven passages to measure on, and, to calibrate on, the text of
Python's own language reference, which every interpreter carries."""

import re
from pydoc_data.topics import topics

PASSAGES = (
    "The capital of Germany is Berlin, and the river that runs through it is the Spree. Long before the city was "
    "large, two small towns of fishermen and merchants faced each other across the water. They traded in rye and "
    "oak, paid the same tolls, and after a while shared a town hall, which stood on the bridge so that neither side "
    "could complain. Today the place where the bridge was is crossed by buses and tourists, and only a few stones "
    "in a museum show where the councillors once argued about the price of bread.",
    "To make a simple soup, cut two onions and a carrot into small pieces and let them turn soft in a little oil. "
    "Add four potatoes, peeled and cut into cubes, and cover everything with water. When the potatoes are tender, "
    "which takes about twenty minutes, crush some of them against the side of the pot; this makes the soup thick "
    "without any cream. Salt, pepper and a bay leaf are enough, but a spoon of vinegar at the end wakes up the "
    "taste. The soup is better on the second day.",
    "Photosynthesis is how plants turn light into food. In the green parts of a leaf, a pigment called chlorophyll "
    "takes up mostly red and blue light and reflects the green. The energy splits water into oxygen, which leaves "
    "the leaf, and hydrogen, which is used to build sugar out of carbon dioxide from the air. Almost all the oxygen "
    "that animals breathe was made this way. At night the plant burns a part of its sugar again, just as we do, and "
    "gives off carbon dioxide.",
    "When Marta opened the letter she already knew what it said. Her brother had never been good at keeping secrets, "
    "and the stamp showed a lighthouse that stood only a mile from the house where they had grown up. So he had gone "
    "back after all. She put the kettle on, sat down by the window and read the first line three times. \"The roof "
    "leaks,\" he wrote, \"but the sea is where we left it.\" Outside it had begun to rain, and for the first time in "
    "years she did not mind.",
    "A computer stores every number as a row of zeros and ones. Eight of them make a byte, which can tell 256 things "
    "apart. To keep a number with a fraction, most machines split the row into three parts: one digit for the sign, "
    "some for the size, and the rest for the digits themselves. The more digits there are, the finer the steps "
    "between neighbouring numbers. If a program does not need such fine steps, it can keep its numbers in fewer "
    "bits, and then more of them fit into memory and more are read in a second.",
    "Question: A train leaves the station at nine in the morning and travels at sixty kilometres an hour. A second "
    "train leaves the same station an hour later and travels at ninety kilometres an hour in the same direction. "
    "When does the second train catch up with the first? Answer: When the second train leaves, the first is sixty "
    "kilometres ahead. The second train gains thirty kilometres every hour, so it needs two hours. It catches up at "
    "noon, one hundred and eighty kilometres from the station.",
    "The committee met on Tuesday to discuss the new library. Mr. Harris said that the old building could be "
    "repaired for less than half of what a new one would cost, but Ms. Okafor pointed out that it has no lift and "
    "that the reading room is too small for a whole class. After two hours the members agreed to ask an architect "
    "for a plan of both. They will vote in June. Until then the library stays open on weekdays from ten to six, and "
    "books may be kept for a week longer than usual.",
)

WORDS = 90  # of a passage to calibrate on


def calibration(count: int) -> list[str]:
    """`count` passages of about 90 words of running text, none from PASSAGES."""
    prose = []
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            plain = re.sub(r"\s+", " ", paragraph.replace("**", "").replace("*", "").replace('"', "")).strip()
            words = plain.split(" ")
            letters = sum(character.isalpha() or character == " " for character in plain)
            if len(words) > 25 and letters > 0.93 * len(plain):
                prose += words
    if len(prose) < count * WORDS:
        raise SystemExit(f"Python's reference has text for {len(prose) // WORDS} passages only, not {count}")
    return [" ".join(prose[i * WORDS : (i + 1) * WORDS]) for i in range(count)]
