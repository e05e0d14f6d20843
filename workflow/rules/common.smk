"""What all rules share. Loads the configuration; yields the validated `pipeline` and input functions."""

import functools
import os
import re
import sys
from inspect import signature
from pathlib import Path

# The checkout, wherever Snakemake is started: scripts and the package are in it, data and results in the working directory.
ROOT = Path(str(workflow.current_basedir)).parents[1]
sys.path.insert(0, str(ROOT))
# For the rules' shell commands. The scripts find the package through a link next to them, whether or not it is installed.
os.environ.update(CATID2_SCRIPTS=str(ROOT / "scripts"))

from catid2.config.base import StageConfig
from catid2.config.file import read_settings
from catid2.config.pretrained import MODELS, RECORD
from catid2.plan import files, tables
from catid2.plan.files import DOWNLOADED, RAW_FILES, SAMPLE_FILES, OwnFile
from catid2.plan.settings import Pipeline
from catid2.pretrained.files import files_in
from catid2.runtime.code import code_digest
from catid2.runtime.errors import InputError
from catid2.runtime.job_lines import show_job_lines

ENVIRONMENT = "../envs/catid2.yaml"

show_job_lines()


def or_exit(read, *given):
    """Return `read(*given)`; where that finds a bad input, end with its one line."""
    try:
        return read(*given)
    except InputError as error:
        sys.exit(f"error: {error}")


# A --configfile replaces config/config.yaml, it is not laid over it. Without one the working directory's own comes
# before the checkout's. An importing workflow (`module:`) gives the configuration itself.
if workflow.modifier.skip_configfile:
    configured = "config of the module"
elif workflow.overwrite_configfiles:
    configured = ", ".join(map(str, workflow.overwrite_configfiles))
else:
    configured = "config/config.yaml"
    if not Path(configured).is_file():
        configured = str(ROOT / configured)
    # Snakemake's message on a broken file names neither file nor line. (It reads those of --configfile before this file.)
    or_exit(read_settings, configured)

    configfile: configured


pipeline = or_exit(Pipeline, config, configured)
REPORTED = tables.reported(pipeline)


def names(values):
    """Return a wildcard constraint that allows just these names (a pattern that matches nothing if none)."""
    return "|".join(map(re.escape, values)) or "(?!)"


wildcard_constraints:
    dataset=names(pipeline.config.datasets),
    view=names(pipeline.config.views),
    method=names(pipeline.methods("generative")),
    study=names(pipeline.config.studies),
    source=names(pipeline.config.sources),
    seed=r"\d+",


@functools.cache
def digest(rule):
    """Return a digest of what scripts/{rule}.py does: a change of it reruns the rule, a comment does not."""
    return code_digest(f"scripts/{rule}.py", ROOT)


def code(rule):
    """Return a params function: the digest. It takes a while, and no rule without a job needs it."""
    return lambda wildcards: digest(rule)


def of_job(function, *given):
    """Return an input or params function: `function(pipeline, *given, ...)` with the job's wildcards that it names.

    As `source` it gets the source of the job's dataset. Models become JSON; of the user's files time stamps do not count.
    """
    wanted = signature(function).parameters

    def of_wildcards(wildcards):
        values = dict(wildcards.items())
        if "dataset" in values:
            values["source"] = pipeline.config.datasets[values["dataset"]].source
        values = {name: value for name, value in values.items() if name in wanted}
        found = or_exit(functools.partial(function, pipeline, *given, **values))
        if isinstance(found, StageConfig):
            return found.model_dump_json()
        if isinstance(found, list):
            return [ancient(path) if isinstance(path, OwnFile) else path for path in found]
        return found

    return of_wildcards


def fixed(model):
    """Return a params function: settings that are the same for all jobs of a rule, as JSON.

    In plain text Snakemake would take a template's {title} for a wildcard.
    """
    return lambda wildcards: model.model_dump_json()


def lines(**options):
    """Return a params function: options of a script, one a line, which it reads as a file (`@/dev/stdin`).

    There may be more of them than a command line holds.
    """

    def of_wildcards(wildcards):
        values = {name: of_job(function)(wildcards) for name, function in options.items()}
        return "\n".join(f"--{name}={value}" for name, found in values.items() for value in found)

    return of_wildcards


def first(name):
    """Return a params function: the first file of an input that may have none."""
    return lambda wildcards, input: input[name][:1]
