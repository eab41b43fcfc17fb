"""The orders in which the official loaders take a data set's rows."""

import random


def pandas_order(rows: int) -> list[int]:
    """`sample(frac=1, random_state=42)`: LingoQA, PMC-VQA."""
    import pandas

    return pandas.DataFrame({"row": range(rows)}).sample(frac=1, random_state=42)["row"].tolist()


def python_order(rows: int) -> list[int]:
    """`random.Random(4).shuffle`: RSVQA, VQAv2."""
    order = list(range(rows))
    random.Random(4).shuffle(order)
    return order


def datasets_order(rows: int) -> list[int]:
    """What `datasets` shuffles with: DocVQA."""
    import numpy

    return numpy.random.default_rng(42).permutation(rows).tolist()
