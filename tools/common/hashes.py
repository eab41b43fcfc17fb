"""FNV-1a, which the tests compute too."""

FNV_START = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3


def fnv1a(values, start: int = FNV_START) -> int:
    """FNV-1a in 64 bits over bytes (or other small numbers); `start` is the hash of what came before."""
    found = start
    for value in values:
        found = ((found ^ value) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return found


def fnv1a_digits(values) -> str:
    """The hash as sixteen hexadecimal digits."""
    return f"{fnv1a(values):016x}"
