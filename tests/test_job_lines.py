"""What a run prints of its jobs: lines for those that start and end, warnings, and errors last."""

import re
import subprocess
import sys

import pytest

SNAKEFILE = """
from catid2.runtime.job_lines import show_job_lines

show_job_lines()
show_job_lines()  # as a workflow that is used as a module loads it again

rule all:
    input: "es.b", "es.c", "es.d"

rule a:
    output: "{dataset}.a"
    log: "logs/{dataset}.a.log"
    shell: "{{ python -c 'from catid2.runtime.errors import warn;"
        " warn(\\"shop.csv\\", \\"few\\\\nrows\\", \\"add some\\")';"
        " echo 'no more warnings'; touch {output}; }} > {log} 2>&1"

rule b:
    input: "{dataset}.a"
    output: "{dataset}.b"
    log: "logs/{dataset}.b.log"
    shell: "touch {output}"

rule c:
    input: "{dataset}.b"
    output: "{dataset}.c"
    log: "logs/{dataset}.c.log"
    shell: "{{ echo step 1; echo 'error: shop.csv: no rows; add some'; exit 1; }} > {log}"

rule d:
    input: "{dataset}.b"
    output: "{dataset}.d"
    log: "logs/{dataset}.d.log"
    shell: "{{ echo 'ValueError: a fault'; exit 1; }} > {log}"
"""


def run(folder, *options):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor", "--keep-going", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "Snakefile").write_text(SNAKEFILE)
    assert re.search(r"^rule a:\n    output: es.a\n", run(folder, "--dry-run"), re.MULTILINE)
    return run(folder, "--show-failed-logs")


def test_a_warning_in_the_log_of_a_job_reaches_the_screen_once(shown):
    warnings = [line for line in shown.splitlines() if "warning:" in line.lower()]
    assert warnings == ["warning: shop.csv: few rows; add some"]


def test_it_is_shown_when_the_job_has_finished(shown):
    assert shown.index("warning: shop.csv") < shown.index("b dataset=es: starts")


def test_a_job_is_a_line_when_it_starts_and_one_when_it_ends(shown):
    lines = re.findall(r"^\[\d\d:\d\d:\d\d\] (. dataset=es: .*)$", shown, re.MULTILINE)
    assert [re.sub(r"\d:\d\d:\d\d", "TIME", line) for line in lines[:4]] == [
        "a dataset=es: starts",
        "a dataset=es: took TIME (1 of 5 done)",
        "b dataset=es: starts",
        "b dataset=es: took TIME (2 of 5 done)",
    ]
    assert len(lines) == 8
    for job in "cd":
        failed = rf"{job} dataset=es: failed after \d:\d\d:\d\d, see logs/es\.{job}\.log"
        assert sum(bool(re.fullmatch(failed, line)) for line in lines) == 1
    assert not re.search("^(local)?rule [abc]:|Finished jobid|Execute|steps", shown, re.MULTILINE)


def test_an_error_is_the_last_line_and_stands_once(shown):
    assert shown.splitlines()[-1] == "error: shop.csv: no rows; add some"
    assert shown.count("error: shop.csv") == 1
    assert "step 1" not in shown
    assert "Error in rule c" not in shown


def test_a_log_that_names_no_error_is_shown(shown):
    assert "Error in rule d" in shown
    assert shown.count("ValueError: a fault") == 2  # the command, and the log


def test_the_error_of_an_attempt_is_shown_before_the_next(tmp_path):
    fails_once = "{{ echo 'error: no luck; try again'; test -e tried || {{ touch tried; exit 1; }}; touch a; }} > {log}"
    rule = f'rule a:\n    output: "a"\n    log: "a.log"\n    retries: 1\n    shell: "{fails_once}"\n'
    (tmp_path / "Snakefile").write_text(SNAKEFILE.partition("rule all")[0] + rule)
    shown = [line for line in run(tmp_path).splitlines() if "] a: " in line or "no luck" in line]
    assert [re.sub(r"^\[.*?\] ", "", line)[:14] for line in shown] == [
        "a: starts",
        "a: failed afte",
        "error: no luck",
        "a: starts",
        "a: took 0:00:0",
    ]
