"""The plumbing of the benchmarks at tiny sizes: what they measure is not looked at, that every row is there is."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from aims import AIMS, Aim  # noqa: E402
from measured import Measured, peak_memory  # noqa: E402


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> list[dict[str, str]]:
    """The rows that one benchmark at its tiny size leads to."""
    folder = tmp_path_factory.mktemp("bench")
    outputs = ["--output", folder / "bench.tsv", "--chart", folder / "bench.svg"]
    command = [sys.executable, "benchmarks/run.py", "--size", "tiny", "--only", "docid_repair", *outputs]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (folder / "bench.svg").read_text().startswith("<?xml")
    with (folder / "bench.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_table_has_every_aim_and_says_which_were_not_measured(table):
    assert {line["row"] for line in table} - {""} == set(AIMS)
    measured = {line["row"] for line in table if line["ours"]} - {""}
    assert measured == {"repair_time", "repair_left", "repair_distortion", "repair_memory"}
    for line in table:
        if line["row"] in measured:
            assert line["reached"] in ("yes", "no")
        elif line["row"]:
            assert line["reached"].startswith(
                "not measured (no GPU" if AIMS[line["row"]].gpu else "not measured"
            )


def test_table_says_on_which_machine(table):
    here = {line["machine"] for line in table if line["ours"]}
    assert len(here) == 1
    assert re.fullmatch(r"\S.*, [1-9]\d* cores, [1-9]\d* GiB, no GPU", *here)


def test_repair_leaves_no_collision(table):
    left = [line for line in table if line["row"] == "repair_left"]
    assert left
    assert {(line["ours"], line["reached"]) for line in left} == {("0", "yes")}


@pytest.mark.parametrize(
    ("judged", "sense", "limit", "figure", "reached"),
    [
        ("ours", "≤", 5, 6, False),
        ("ours / theirs", "≤", 1.5, 3, False),
        ("ours / theirs", "≥", 0.4, 3, True),
        ("theirs / ours", "≥", 0.3, 1 / 3, True),
    ],
)
def test_an_aim_judges_the_figure_it_names(judged, sense, limit, figure, reached):
    aim, line = Aim("", judged, sense, limit), Measured("", "", "", 6, "s", "other", 2)
    assert aim.figure(line) == pytest.approx(figure)
    assert aim.reached(line) is reached


def test_peak_memory_counts_what_is_freed_again_and_nothing_from_before():
    held = bytearray(200 * 2**20)
    peak = peak_memory(lambda: len(bytearray(100 * 2**20)))
    assert peak.result == 100 * 2**20
    assert 0.09 < peak.gib < 0.13
    del held
