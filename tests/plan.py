"""What the jobs of a configuration are given, from a dry run: inputs, parameters and commands."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from workflow import ROOT


class Job(NamedTuple):
    """A job as Snakemake would run it."""

    rule: str
    wildcards: dict[str, str]
    inputs: list[str]
    outputs: dict[str, dict[str, Any]]  # by path: what Snakemake requires of it (`ensure`)
    params: dict[str, Any]
    command: list[str]  # words of the shell command; its scripts by their names

    @property
    def scripts(self) -> list[str]:
        """The script, or `torchrun.py` and the script that it starts."""
        return [word for word in self.command if word.endswith(".py")]

    @property
    def fed(self) -> list[str]:
        """The texts that the shell feeds to the script, which are no arguments of the command."""
        return [
            value for sign, value in zip(self.command, self.command[1:], strict=False) if sign[-3:] == "<<<"
        ]

    def options(self, name: str) -> list[str]:
        """Return the values of an option, in the command and in lines that it is fed; it may be given several times."""
        lines = [line.partition("=")[::2] for text in self.fed for line in text.splitlines()]
        given = [*zip(self.command, self.command[1:], strict=False), *lines]
        return [value for option, value in given if option == name]


def plan(config: Path, folder: Path, rules: Iterable[str] = (), targets: Iterable[str] = ()) -> list[Job]:
    """Return the jobs that make `targets`, or all of `config`, which is read in the working directory `folder`.

    With `rules` these alone may run, and the files of others are there.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api,
    ):
        patch.setenv("CATID2_SCRIPTS", "set by the Snakefile, and put back here")
        workflow = api.workflow(
            ResourceSettings(cores=1),
            ConfigSettings(configfiles=[config]),
            snakefile=ROOT / "workflow" / "Snakefile",
            workdir=folder,
        )
        workflow.dag(DAGSettings(targets=set(targets), allowed_rules=set(rules))).execute_workflow(
            executor="dryrun"
        )
        # what `--dry-run` prints has no parameters, and no other way out of Snakemake 9 has all three
        return [_job(job) for job in workflow._workflow.dag.jobs]


def _job(job: Any) -> Job:
    return Job(
        rule=job.rule.name,
        wildcards=dict(job.wildcards.items()),
        inputs=[str(path) for path in job.input],
        outputs={str(path): path.flags.get("ensure", {}) for path in job.output},
        params=dict(job.params.items()),
        command=shlex.split(re.sub(r"\$CATID2_SCRIPTS/", "", job.shellcmd or "")),
    )
