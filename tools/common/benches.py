"""The files of two data sets whose questions the tools make up, in the layouts that they ship in."""

from pathlib import Path

from .files import write_json


def write_rsvqa(folder: Path, split: str, questions: list, answers: list, images: list) -> None:
    """RSVQA: three JSON files; the pictures lie in Data."""
    for name, rows in (("questions", questions), ("answers", answers), ("images", images)):
        write_json(folder / f"USGS_split_{split}_{name}.json", {name: rows}, indent=None)


def vqav2_picture(folder: Path, split: str, image: int) -> Path:
    """Where VQAv2 keeps a picture."""
    return folder / f"{split}2014" / f"COCO_{split}2014_{image:012d}.jpg"


def vqav2_annotation(image: int, number: int, question: str, answer: str, kind: str, answers: list) -> dict:
    """What VQAv2 says of a question; `answers` are those of ten people."""
    return {
        "answer_type": kind, "answers": answers, "image_id": image, "multiple_choice_answer": answer,
        "question_id": number, "question_type": " ".join(question.lower().split()[:2])}


def write_vqav2(folder: Path, split: str, questions: list, annotations: list) -> None:
    """VQAv2: questions and annotations."""
    common = {"info": {}, "license": {}, "data_subtype": f"{split}2014", "data_type": "mscoco"}
    write_json(folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json",
               common | {"task_type": "Open-Ended", "questions": questions}, indent=None)
    write_json(folder / f"v2_mscoco_{split}2014_annotations.json", common | {"annotations": annotations}, indent=None)
