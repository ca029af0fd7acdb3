"""Reads fixtures/testrun: requests with what a real 7.3.4 kernel answered."""

import gzip
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "fixtures" / "testrun"


def lines(name: str) -> list[dict[str, Any]]:
    """The records of a .jsonl.gz."""
    with gzip.open(FOLDER / name, "rt") as file:
        records = [json.loads(line) for line in file]
    for record in records:
        if "data_zeros" in record:
            record["data_in"] = "00" * record["data_zeros"]
    return records


def table(name: str) -> list[Any]:
    """The rows of a .json."""
    rows: list[Any] = json.loads((FOLDER / name).read_text())
    return rows
