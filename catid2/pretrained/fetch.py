"""Fetch a pretrained model from the Hugging Face hub: the files that are read, from one commit, checked.

The hub's library downloads them. It resumes broken connections, and keeps complete files when it fails, but it does not
compare hashes. That is done here: every file must have the SHA-256, or the git hash, that the hub lists. The record
`fetched.json` is written last, so that if it exists, all files do.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of the HTTP library that this version of the hub's library uses
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.sha import git_hash

from catid2.config.pretrained import RECORD, PretrainedModel
from catid2.pretrained.files import WEIGHTS, files_in, files_to_read
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.tables import write_json
from catid2.runtime.writing import claim, needs_room, require_ownership

_NOTES = Path(".cache", "huggingface")  # what the library knows of the files, below their folder

log = logging.getLogger(__name__)


def fetch_model(model: PretrainedModel, folder: Path) -> None:
    """Write the files of `model` that are read to `folder`, and RECORD: name, revision, commit, sizes and SHA-256.

    Files of the same commit that exist already, or are in the hub's cache (HF_HOME), are not downloaded again.

    Raises:
        InputError: the folder holds other files; the hub cannot be reached, or has no such model or revision, or does
            not let the user have it; the model has no weights that can be read; a file is not what the hub lists; the
            disk is full.
    """
    record = folder / RECORD
    if not record.is_file() and not (folder / _NOTES).is_dir() and files_in(folder):
        raise InputError(folder, "holds a model that was not fetched", "name a new folder")
    with needs_room(record), _explained(model, folder):
        listing = HfApi().model_info(model.name, revision=model.revision, files_metadata=True)
        listed = {file.rfilename: file for file in listing.siblings or []}
        names = files_to_read(listed)
        if "config.json" not in names or WEIGHTS.keys().isdisjoint(names):
            what = f"no config.json with {' or '.join(WEIGHTS)} at commit {listing.sha}"
            raise InputError(model.name, what, "use a model in the format of Transformers")
        log.info("%s, revision %s: commit %s", model.name, model.revision, listing.sha)
        with claim(record):  # which makes the folder, so not before the hub has answered
            record.unlink(missing_ok=True)
            files = {}
            for name in names:
                require_ownership()
                hf_hub_download(model.name, name, revision=listing.sha, local_dir=folder, tqdm_class=Progress)
                size = (folder / name).stat().st_size
                files[name] = {"size": size, "sha256": _checked(model, folder, listed[name])}
                log.info("%s: %d bytes, sha256 %s", folder / name, size, files[name]["sha256"])
            while others := set(files_in(folder)) - set(names):  # of another commit
                for name in others:
                    (folder / name).unlink()
            write_json(record, model.model_dump() | {"commit": listing.sha, "files": files})


def _checked(model: PretrainedModel, folder: Path, listed: RepoSibling) -> str:
    """Return the SHA-256 of a file after comparing it with the hub's; a file that differs is removed."""
    path = folder / listed.rfilename
    sha256 = file_sha256(path)
    # Of large files the hub has the SHA-256, of the others git's hash.
    expected = listed.lfs.sha256 if listed.lfs else listed.blob_id
    if (sha256 if listed.lfs else git_hash(path.read_bytes())) != expected:
        path.unlink()
        what = f"the hub sent another {listed.rfilename} than it lists for {model.name} ({listed.size} bytes)"
        raise InputError(path, what, "removed; try again")
    return sha256


@contextlib.contextmanager
def _explained(model: PretrainedModel, folder: Path) -> Iterator[None]:
    """Turn an error of the hub's library into one line with the remedy."""
    hub = constants.ENDPOINT
    log_in = "set HF_TOKEN, or run `hf auth login`"
    elsewhere = f"on a machine with a network (a login node) run HF_HUB_OFFLINE=0 snakemake --cores 1 {folder / RECORD}"
    try:
        yield
    except GatedRepoError:
        what = "a gated model: its owner decides who may have it"
        remedy = f"accept its terms at {hub}/{model.name}, then {log_in}"
        raise InputError(model.name, what, remedy) from None
    except RevisionNotFoundError:
        what = f"no revision {model.revision!r} on {hub}"
        raise InputError(model.name, what, "name a branch, a tag or a commit of it") from None
    except HFValidationError as error:
        raise InputError(model.name, f"not the name of a model ({error})", "write it as OWNER/NAME") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        what, remedy = f"{hub} answers {status}", "try again later"
        if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            what = f"no folder here, and no such model on {hub} (or a private one)"
            remedy = f"correct the name; for a private model {log_in}"
        elif status == 403:
            remedy = f"{log_in}, with a token that may read it"
        raise InputError(model.name, what, remedy) from None
    except OfflineModeIsEnabled:
        what = f"not in {folder}, and HF_HUB_OFFLINE forbids fetching it"
        raise InputError(model.name, what, elsewhere) from None
    except (LocalEntryNotFoundError, HTTPError) as error:
        cause = str(error.__cause__ or error) or type(error).__name__
        raise InputError(model.name, f"{hub} fails ({cause})", f"try again, or {elsewhere}") from None
    except ValueError as error:
        raise InputError(model.name, f"{hub} is not a hub ({error})", "correct HF_ENDPOINT") from None
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise InputError(model.name, str(error).splitlines()[0], "try again") from None
