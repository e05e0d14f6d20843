"""The workflow from any folder: an awkwardly named checkout, another working directory, another workflow's module."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from catid2.plan.comparison import comparison
from catid2.plan.settings import Pipeline
from workflow import Project

# What a shell and PYTHONPATH take for their own. Snakemake 9.27 itself fails on braces in the path of a Snakefile.
AWKWARD = 'check out: it\'s "here" $HOME [1]'
LONGEST_ARGUMENT = 128 * 1024  # bytes, on Linux
TARGET = "results/tiny_es/bm25/seed0/run.parquet"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Project:
    """A copy of the project in a folder with an awkward name, which is not where Snakemake starts."""
    return Project(tmp_path_factory.mktemp("awkward") / AWKWARD, stub=False)


def made(project: Project, folder: Path, *arguments: str) -> set[str]:
    """Run Snakemake in `folder`; return the folders that hold files afterwards."""
    elsewhere = Project.at(project.folder)
    elsewhere.folder = folder
    elsewhere.snakemake(*arguments)
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()} - {
        ".snakemake"
    }


def test_results_lie_below_the_working_directory(checkout, tmp_path):
    run = tmp_path / AWKWARD
    run.mkdir()
    tiny = str(Path(__file__).parent / "tiny.yaml")
    arguments = (TARGET, "--snakefile", str(checkout.folder / "workflow/Snakefile"), "--configfile", tiny)
    assert made(checkout, run, *arguments) == {"results", "resources", "logs"}
    before = {path for path in checkout.folder.rglob("*") if "__pycache__" not in path.parts}
    done = checkout.snakemake("--directory", str(run), "--configfile", tiny, "--dry-run", TARGET)
    assert "Nothing to be done" in done.stdout + done.stderr
    after = {path for path in checkout.folder.rglob("*") if "__pycache__" not in path.parts}
    assert {path for path in after - before if ".snakemake" not in path.parts} == set()


def test_the_working_directorys_own_configuration_comes_first(checkout, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text((Path(__file__).parent / "tiny.yaml").read_text())
    done = checkout.snakemake("--directory", str(tmp_path), "--dry-run", TARGET)
    assert "search_bm25" in done.stdout
    other = tmp_path / "other"
    other.mkdir()
    done = checkout.snakemake(
        "--directory", str(other), "--dry-run", "results/esci_es/bm25/seed0/run.parquet"
    )
    assert "fetch_esci" in done.stdout


def test_another_workflow_imports_the_rules_as_a_module(checkout, tmp_path):
    snakefile = f"""
import yaml

module catid2:
    snakefile: {str(checkout.folder / "workflow/Snakefile")!r}
    config: yaml.safe_load(open({str(Path(__file__).parent / "tiny.yaml")!r}))

use rule * from catid2

rule mine:
    default_target: True
    input: {TARGET!r}
    output: "copied.parquet"
    shell: "cp {{input}} {{output}}"
"""
    (tmp_path / "Snakefile").write_text(snakefile)
    assert made(checkout, tmp_path) == {"results", "resources", "logs", "copied.parquet", "Snakefile"}


BRACES = "{title}: {{brand}} {0} {wildcards.dataset} {input}"


def test_braces_in_settings_reach_the_scripts_as_they_are(tmp_path):
    project = Project(tmp_path, stub=True)
    settings = """
fetch_esci: {examples: {url: "https://example.org/{a}/{b}.parquet"}}
views: {text: {template: "{title} {brand}", encoder: {kind: tfidf_svd}, query_prefix: "{title} {x} "}}
bm25: {template: "{title}"}
retriever:
  tasks: [{source: query, prefix: "{q} {input} "}, {source: document, prefix: "{wildcards.seed}", template: "{title}"}]
"""
    (tmp_path / "braces.yaml").write_text(settings)
    done = project.snakemake(
        "--dry-run", "--printshellcmds", "--configfile", "config/demo.yaml", "braces.yaml"
    )
    commands = re.findall(r"python .*?2>&1$", done.stdout, re.MULTILINE | re.DOTALL)
    words = [word for command in commands for word in shlex.split(command)]
    for expected in (
        '"prefix":"{q} {input} "',
        '"template":"{title} {brand}"',
        '"prefix":"{wildcards.seed}"',
    ):
        assert any(expected in word for word in words), expected


def test_settings_longer_than_an_argument_of_a_command_reach_a_script(tmp_path):
    project = Project(tmp_path, stub=True)
    values = yaml.safe_load((project.folder / "config" / "demo.yaml").read_text())
    tasks = [{"source": "query"}, {"source": "document", "template": "{title} " * 20_000}]
    values["methods"]["catid2"] = {"retriever": {"tasks": tasks}}
    assert len(comparison(Pipeline(values, ""), "recall").model_dump_json()) > LONGEST_ARGUMENT
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(values))
    only = ("--configfile", "long.yaml", "--rerun-triggers", "mtime", "--", "results/report.html")
    plan = project.snakemake("--dry-run", *only).stdout
    for path in re.search(r"rule report_locales:\n    input: (.*)", plan)[1].split(", "):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    project.snakemake("--allowed-rules", "report_locales", *only)
    assert (tmp_path / "results/report.html").stat().st_size
