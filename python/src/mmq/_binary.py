"""Where the program `mmq` is."""

import os
import shutil
from pathlib import Path
from typing import Optional, Union

from ._errors import MmqError

PathLike = Union[str, "os.PathLike[str]"]


def find_binary(binary: Optional[PathLike] = None) -> str:
    """The path of `mmq`: `binary`, else $MMQ, else the one inside the package (a wheel has one), else the PATH's.

    Else it is one built in the checkout that this file lies in.

    Raises:
        MmqError: there is none; says where it was looked for.
    """
    for given in (binary, os.environ.get("MMQ")):
        if given:
            path = os.fspath(given)
            if not (os.path.isfile(path) and os.access(path, os.X_OK)):
                raise MmqError(f"{path}: the program mmq is not there")
            return path
    inside = Path(__file__).resolve().parent / "bin" / "mmq"
    if inside.is_file() and os.access(inside, os.X_OK):
        return str(inside)
    found = shutil.which("mmq")
    if found:
        return found
    checkout = Path(__file__).resolve().parent.parent.parent.parent
    builds = [checkout / ".build" / kind / "mmq" for kind in ("release", "debug")]
    for place in builds:
        if place.is_file():
            return str(place)
    raise MmqError("the program mmq is not there: not in $MMQ, in the package, on the PATH, or at "
                   + " or ".join(map(str, builds)) + "; build it with 'make build' and name it with binary=")
