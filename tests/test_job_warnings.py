"""Warnings of jobs: what Snakemake shows of their logs."""

import subprocess
import sys

import pytest

SNAKEFILE = """
from catid2.runtime.job_warnings import show_job_warnings

show_job_warnings()
show_job_warnings()  # as a workflow that is used as a module loads it again

rule all:
    input: "b"

rule a:
    output: "a"
    log: "logs/a.log"
    shell: "{{ python -c 'from catid2.runtime.errors import warn;"
        " warn(\\"shop.csv\\", \\"few\\\\nrows\\", \\"add some\\")';"
        " echo 'no more warnings'; touch {output}; }} > {log} 2>&1"

rule b:
    input: "a"
    output: "b"
    log: "logs/b.log"
    shell: "touch {output}"
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warnings")
    (folder / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_warning_in_the_log_of_a_job_reaches_the_screen_once(shown):
    warnings = [line for line in shown.splitlines() if "warning:" in line.lower()]
    assert warnings == ["warning: shop.csv: few rows; add some"]


def test_it_is_shown_when_the_job_has_finished(shown):
    assert shown.index("warning: shop.csv") < shown.index("rule b:")
