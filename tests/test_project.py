"""The project as a whole: linters are content, and what README.md names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from catid2.plan.settings import Pipeline

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "workflow"],
        ["snakemake", "--lint"],
        ["snakemake", "--lint", "--configfile", "config/demo.yaml"],
    ],
    ids=" ".join,
)
def test_linters_are_content(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_script_of_its_name_and_every_script_a_rule():
    text = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert set(re.findall(r"^rule (\w+):", text, re.M)) == scripts - {"torchrun"}


def test_the_pipelines_page_names_every_rule():
    page = (ROOT / "docs" / "pipeline.md").read_text()
    rules = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"torchrun"}
    assert [rule for rule in sorted(rules) if f"`{rule}`" not in page] == []


def test_readmes_own_data_is_a_valid_configuration():
    blocks = re.findall(r"((?:^    .*\n)+)", README, re.M)
    own = next(block for block in blocks if "mine_us" in block)
    paper = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    for key, value in yaml.safe_load(re.sub(r"^    ", "", own, flags=re.M)).items():
        paper[key] |= value
    assert Pipeline(paper, "README.md").source("mine_us").esci_s == "categories.json.zst"


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_and_pictures_are_there(page):
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    folder = (ROOT / page).parent
    assert [
        target for target in targets if not target.startswith("http") and not (folder / target).exists()
    ] == []
