"""Makes of downloaded data sets what mmq reads.

    .build/venv/bin/python tools/data prepare BENCH_FOLDER [ad] [doc] [rs]

ad   LingoQA: ad/<split>/<split>.parquet becomes ad/<split>/<split>.jsonl (the pictures are files already)
doc  DocVQA (pixparse/docvqa-single-page-questions): <split>-*.parquet anywhere below doc/ become doc/<split>.jsonl
     and the pictures in them files below doc/images/
rs   RSVQA: rs/Data/*.tif become .png beside them, which is what the official code looks for

Reads a few rows at a time, so memory stays small whatever the size. A run that was stopped goes on where it was: rows
are appended to <name>.jsonl.part, which gets its name when it is complete; pictures that are there are not written
again. What is complete already is left alone. Needs pyarrow and pillow.

The lines, one per row, in the order of the parquet files:
    ad   {"question_id", "segment_id", "images": [paths below ad/<split>/], "question", "answer"}
    doc  {"question_id", "question", "answers", "name": the data set's name of the page,
          "image": path below doc/ or null}
"""

import io
import json
import os
import re
import sys
from pathlib import Path, PurePosixPath

from tools.common.commands import parser
from tools.common.files import plain, write_whole

ROWS = 16  # a DocVQA row carries a page scan of about a megabyte


def fail(text):
    sys.exit(f"prepare: {text}")


def finished_lines(part):
    """Number of whole lines in a file that an earlier run left; half a line at its end is cut off."""
    if not part.exists():
        return 0
    lines, good = 0, 0
    with open(part, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines += 1
            good += len(line)
    os.truncate(part, good)
    return lines


def rows(files, columns, skip):
    """The rows of several parquet files one after the other, without the first `skip`."""
    import pyarrow.parquet as parquet

    for path in files:
        file = parquet.ParquetFile(path)
        missing = set(columns) - set(file.schema_arrow.names)
        if missing:
            fail(f"{path}: no column {', '.join(sorted(missing))}, found {', '.join(file.schema_arrow.names)}")
        if skip >= file.metadata.num_rows:
            skip -= file.metadata.num_rows
            continue
        optional = [name for name in ("segment_id",) if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=ROWS, columns=list(columns) + optional):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            for row in batch.slice(skip).to_pylist():
                yield row
            skip = 0


def write_lines(target, files, columns, line):
    import pyarrow.parquet as parquet

    if target.exists():
        print(f"{target}: there already")
        return
    total = sum(parquet.ParquetFile(path).metadata.num_rows for path in files)
    part = target.with_name(target.name + ".part")
    done = finished_lines(part)
    with open(part, "a", encoding="utf-8") as out:
        for row in rows(files, columns, done):
            out.write(json.dumps(line(row, done), ensure_ascii=False) + "\n")
            done += 1
            if done % 500 == 0:
                out.flush()
                print(f"{target}: {done} of {total}", file=sys.stderr)
        out.flush()
        os.fsync(out.fileno())
    if done != total:
        fail(f"{part}: {done} lines, but the parquet files have {total} rows; remove it and run again")
    os.replace(part, target)
    print(f"{target}: {total} rows")


def prepare_ad(bench):
    folders = [folder for folder in sorted((bench / "ad").glob("*")) if (folder / f"{folder.name}.parquet").exists()]

    def line(row, number):
        return {"question_id": plain(row["question_id"]), "segment_id": plain(row.get("segment_id")),
                "images": plain(row["images"]), "question": row["question"], "answer": row["answer"]}

    for folder in folders:
        write_lines(folder / f"{folder.name}.jsonl", [folder / f"{folder.name}.parquet"],
                    ("question_id", "images", "question", "answer"), line)
    return bool(folders)


def picture_path(name):
    """The path of a page below doc/images; never outside of it."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    if not parts:
        fail(f"a page is called '{name}'")
    return PurePosixPath("images", *parts)


def prepare_doc(bench):
    from PIL import Image

    folder = bench / "doc"
    splits = {}
    for path in sorted(folder.rglob("*.parquet")):
        match = re.match(r"(train|val|validation|test)(?:-\d+-of-\d+.*)?\.parquet$", path.name)
        if match:
            splits.setdefault(match.group(1), []).append(path)

    def line(row, number):
        name = row["other_metadata"]["image"]
        image = row["image"]
        data = image and image.get("bytes")
        target = None
        if data:
            target = picture_path(name)
            if data[:8] != b"\x89PNG\r\n\x1a\n" and data[:2] != b"\xff\xd8":
                target = target.with_suffix(".png")
            if not (folder / target).exists():
                if data[:8] != b"\x89PNG\r\n\x1a\n" and data[:2] != b"\xff\xd8":
                    buffer = io.BytesIO()
                    Image.open(io.BytesIO(data)).save(buffer, format="PNG")
                    data = buffer.getvalue()
                write_whole(folder / target, data)
        return {"question_id": plain(row["question_id"]), "question": row["question"], "answers": plain(row["answers"]),
                "name": name, "image": target and str(target)}

    for split, files in splits.items():
        write_lines(folder / f"{split}.jsonl", files, ("question_id", "question", "answers", "image", "other_metadata"),
                    line)
    return bool(splits)


def prepare_rs(bench):
    from PIL import Image

    files = sorted((bench / "rs/Data").glob("*.tif")) + sorted((bench / "rs/Data").glob("*.tiff"))
    made = 0
    for path in files:
        target = path.with_suffix(".png")
        if target.exists():
            continue
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.save(buffer, format="PNG")
        write_whole(target, buffer.getvalue())
        made += 1
        if made % 500 == 0:
            print(f"{target.parent}: {made} made", file=sys.stderr)
    if files:
        print(f"{bench / 'rs/Data'}: {made} of {len(files)} pictures made, the others were there")
    return bool(files)


TASKS = {"ad": prepare_ad, "doc": prepare_doc, "rs": prepare_rs}


def prepare(bench: Path, chosen: list[str]) -> None:
    """Prepares some domains of a bench folder."""
    for name in chosen:
        if not TASKS[name](bench):
            print(f"{bench / name}: nothing to prepare")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("bench", type=Path, metavar="BENCH_FOLDER")
    given.add_argument("domains", nargs="*", metavar="DOMAIN", help="default: " + ", ".join(TASKS))
    options = given.parse_args()
    if not options.bench.is_dir():
        fail(f"{options.bench}: no such folder")
    for name in options.domains:
        if name not in TASKS:
            fail(f"'{name}' needs no preparation; what can be prepared is {', '.join(TASKS)}")
    prepare(options.bench, options.domains or list(TASKS))
