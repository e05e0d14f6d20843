"""Runs that are killed three times (kills.py does it at length), and how they are judged."""

import base64
import json
import os
from pathlib import Path

import processes
import pytest
import records
import yaml
from kills import campaign, summary
from rounds import Settings

from workflow import ROOT


def test_killed_runs_end_like_an_undisturbed_one(tmp_path):
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    config["methods"] = {name: config["methods"][name] for name in ("catid2", "bm25")}
    config["studies"] = {"recall": {"methods": list(config["methods"])}}
    del config["geometry"]
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    target = ("--", "results/tiny_es/recall.tsv")
    settings = Settings(arguments=target, kills=3, tight=False, checkpoint_seconds=None)
    runs = campaign(tmp_path / "runs", path, settings, kills=3, seed=5, checkpoint_seconds=0)
    assert [defect for run in runs for defect in run.defects] == []
    assert summary(runs).startswith("3 kills")
    assert processes.marked(str(tmp_path)) == []


def write_record(folder: Path, kind: str, output: str, content: str) -> None:
    name = base64.urlsafe_b64encode(output.encode()).decode()
    path = folder / ".snakemake" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def project(tmp_path):
    """Two jobs with records: one of two files, one of a folder."""
    for job, outputs in {"one": ["results/a", "results/b"], "two": ["results/folder"]}.items():
        for output in outputs:
            record = {"rule": job, "log": [f"logs/{job}.log"]}
            write_record(tmp_path, "metadata", output, json.dumps(record))
    (tmp_path / "results" / "folder").mkdir(parents=True)
    for name in ("a", "b", "folder/c"):
        (tmp_path / "results" / name).write_text(name)
    return tmp_path


def test_recorded_outputs_are_complete(project):
    assert set(records.complete_outputs(project)) == {"results/a", "results/b", "results/folder"}


@pytest.mark.parametrize("fault", ["marked", "missing", "record cut"])
def test_a_job_with_one_output_in_doubt_is_not_complete(project, fault):
    if fault == "marked":
        write_record(project, "incomplete", "results/b", "{}")
    elif fault == "missing":
        (project / "results" / "b").unlink()
    else:
        write_record(project, "metadata", "results/a", '{"rule": "o')
        write_record(project, "incomplete", "results/a", "{}")
        write_record(project, "incomplete", "results/b", "{}")
    assert set(records.complete_outputs(project)) == {"results/folder"}


@pytest.mark.parametrize("name", ["a", "folder/c"])
def test_the_same_content_written_again_is_another_file(project, name):
    before = records.complete_outputs(project)
    path = project / "results" / name
    stamp = path.stat().st_mtime_ns
    again = path.with_name("again")
    again.write_text(name)
    os.utime(again, ns=(stamp, stamp))
    again.replace(path)
    after = records.complete_outputs(project)
    assert [output for output in before if before[output] != after[output]] == [
        f"results/{name.split('/')[0]}"
    ]


def test_names_hold_temporary_files_and_leave_out_snakemake(project):
    (project / "results" / ".tmp-a").touch()
    (project / "results" / "folder" / records.STAMP).touch()
    expected = {"results", "results/a", "results/b", "results/folder", "results/folder/c", "results/.tmp-a"}
    assert records.names(project) == expected
