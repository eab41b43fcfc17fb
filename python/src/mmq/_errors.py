"""What goes wrong."""

from typing import Optional


class MmqError(Exception):
    """mmq refused what it was given, or its work failed. The text is mmq's own message.

    Attributes:
        code: the kind of failure (`unreadable`, `badValue`, ...) where mmq names it, else None.
    """

    def __init__(self, message: str, code: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code


class SessionEnded(MmqError):
    """The process behind a `Model` ended before it answered: killed, or out of memory. The next call starts another."""
