"""What each number format does to a model: `mmq fidelity` over types, with and without importance, and activations.

    .build/venv/bin/python tools/fidelity measure DIR/checkpoint --bench DIR/bench \\
        [--types q8_0,q4_0,iq4_nl,iq4_nl_gate] [--importance FILE] [--activations int8,int16] [--work FOLDER]

Converts with `mmq convert`, once to f16 as the reference, and runs `mmq fidelity` over the bench's val split. The
vision part stays f16 in all, so that only the language model differs.
"""

from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import MMQ

WITHOUT_IMPORTANCE = ("f32", "f16", "bf16", "q8_0")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("checkpoint", type=Path)
    given.add_argument("--bench", type=Path, required=True)
    given.add_argument("--domain", default="com")
    given.add_argument("--samples", type=int, default=7)
    given.add_argument("--types", default="q8_0,q4_0,iq4_nl,iq4_nl_gate", help="types and recipes of mmq convert")
    given.add_argument("--importance", type=Path, help="measure types of fewer than eight bits with it as well")
    given.add_argument("--activations", default="int8,int16")
    given.add_argument("--work", type=Path, default=Path(".build/fidelity"), help="where models are kept")
    given.add_argument("--mmq", type=Path, default=MMQ, help="the mmq binary")
    options = given.parse_args()

    def convert(name: str, type_: str, *more) -> list:
        model = options.work / name
        output_of([options.mmq, "convert", options.checkpoint, "--output", model, "--type", type_,
                   "--vision-type", "f16", "--force", *more])
        return ["--model", model]

    _, reference = convert("f16", "f16")
    models = []
    for type_ in options.types.split(","):
        models += convert(type_, type_)
        if options.importance and type_ not in WITHOUT_IMPORTANCE:
            models += convert(f"{type_}-importance", type_, "--importance", options.importance)
    for activations in options.activations.split(","):
        print(f"activations {activations}, ", end="")
        print(output_of([
            options.mmq, "fidelity", "--reference", reference, *models, "--bench", options.bench,
            "--domain", options.domain, "--split", "val", "--samples", options.samples,
            "--activations", activations]), flush=True)
