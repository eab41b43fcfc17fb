"""What each number format does to a model: `mmq fidelity` over types, with and without importance, and activations.

    .build/venv/bin/python tools/fidelity measure DIR/checkpoint --bench DIR/bench \\
        [--types q8_0,q4_0,iq4_nl,iq4_nl_gate] [--importance FILE] [--rounded q8_0,iq4_nl] [--activations int8,int16] \\
        [--work FOLDER]

Converts with `mmq convert`, once to f16 as the reference, rounds with `mmq round` over 48 samples of the bench's train
split, and runs `mmq fidelity` over its val split. The vision part stays f16 in all, so that only the language model
differs.
"""

from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import MMQ

WITHOUT_IMPORTANCE = ("f32", "f16", "bf16")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("checkpoint", type=Path)
    given.add_argument("--bench", type=Path, required=True)
    given.add_argument("--domain", default="com")
    given.add_argument("--samples", type=int, default=7)
    given.add_argument("--types", default="q8_0,q4_0,iq4_nl,iq4_nl_gate", help="types and recipes of mmq convert")
    given.add_argument("--importance", type=Path, help="measure types that take it with it as well")
    given.add_argument("--rounded", default="", help="types to measure as mmq round makes them as well")
    given.add_argument("--activations", default="int8,int16")
    given.add_argument("--work", type=Path, default=Path(".build/fidelity"), help="where models are kept")
    given.add_argument("--mmq", type=Path, default=MMQ, help="the mmq binary")
    options = given.parse_args()

    def convert(name: str, type_: str, *more) -> list:
        model = options.work / name
        output_of([options.mmq, "convert", options.checkpoint, "--output", model, "--type", type_,
                   "--vision-type", "f16", "--force", *more])
        return ["--model", model]

    reference = convert("f16", "f16")
    models = []
    for type_ in options.types.split(","):
        models += convert(type_, type_)
        if options.importance and type_ not in WITHOUT_IMPORTANCE:
            models += convert(f"{type_}-importance", type_, "--importance", options.importance)
    for type_ in filter(None, options.rounded.split(",")):
        models += ["--model", options.work / f"{type_}-round"]
        output_of([options.mmq, "round", *reference, "--bench", options.bench, "--domain", options.domain, "--split",
                   "train", "--prompt-form", "simple", "--samples", 48, "--type", type_, "--output", models[-1],
                   "--force"])
    for activations in options.activations.split(","):
        print(f"activations {activations}, ", end="")
        print(output_of([
            options.mmq, "fidelity", "--reference", reference[1], *models, "--bench", options.bench,
            "--domain", options.domain, "--split", "val", "--samples", options.samples,
            "--activations", activations, "--max-tokens", 0]), flush=True)
