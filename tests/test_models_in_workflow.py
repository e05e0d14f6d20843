"""Pretrained models as inputs of the workflow: fetched ones, and folders of the user's own."""

import os
import shutil

import pytest

from workflow import Project

DEMO = ("--configfile", "config/demo.yaml")
TABLE = "results/demo_es/recall.tsv"
BERT = "models/bert"  # a folder of the user's own, below the working directory
ENCODED = {
    "embed dataset=demo_es view=text",
    *(
        f"{rule} dataset=demo_es method={method} seed=0"
        for rule in ("train_rqvae", "assign_docids", "train_retriever", "retrieve")
        for method in ("catid2", "tiger")
    ),
    "evaluate dataset=demo_es study=recall",
}
RETRIEVED = {job for job in ENCODED if job.split()[0] in ("train_retriever", "retrieve", "evaluate")}


def configured(project: Project, encoder: str, retriever: str) -> None:
    """Let the demo read pretrained models."""
    project.edit("config/demo.yaml", "{kind: tfidf_svd, dims: 128}", f"{{kind: hf, model: {encoder}}}")
    project.edit("config/demo.yaml", "  pretrained: null\n", f"  pretrained: {retriever}\n")


def own_model(project: Project) -> None:
    folder = project.folder / BERT
    folder.mkdir(parents=True)
    for name in ("config.json", "vocab.txt", "model.safetensors", "README.md"):
        (folder / name).write_text(name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project of which demo_es has been made, with empty outputs: the encoder is own, the retriever of the hub."""
    project = Project(tmp_path_factory.mktemp("models"), stub=True)
    configured(project, f"./{BERT}", "google/mt5-base")
    own_model(project)
    project.snakemake(TABLE, *DEMO)
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project that a test may change."""
    return finished.copy(tmp_path / "project")


def test_a_finished_run_has_nothing_to_do(project):
    assert (project.folder / "resources/models/google/mt5-base@main/fetched.json").is_file()
    assert project.planned(TABLE, *DEMO) == set()
    (project.folder / BERT / "README.md").write_text("nothing reads it")
    weights = project.folder / BERT / "model.safetensors"
    shutil.copyfile(weights, project.folder / "copy")
    (project.folder / "copy").replace(weights)
    assert project.planned(TABLE, *DEMO) == set()


@pytest.mark.parametrize("age", [0, 10**9])  # seconds
def test_new_weights_in_an_own_folder_rerun_what_depends_on_them(project, age):
    weights = project.folder / BERT / "model.safetensors"
    weights.write_text("other weights")
    time = weights.stat().st_mtime - age
    os.utime(weights, (time, time))
    assert project.planned(TABLE, *DEMO) == ENCODED


def test_a_new_and_a_missing_file_of_an_own_folder_are_noticed(project):
    shard = project.folder / BERT / "model.safetensors"
    shard.unlink()
    assert project.planned(TABLE, *DEMO) == ENCODED
    (project.folder / BERT / "pytorch_model.bin").write_text("other weights")
    assert project.planned(TABLE, *DEMO) == ENCODED


def test_another_revision_is_fetched_beside_the_first_and_trained(project):
    project.edit("config/demo.yaml", "google/mt5-base", "google/mt5-base\n  revision: refs/pr/1")
    fetch = "fetch_model model=google/mt5-base@refs%2Fpr%2F1"
    assert project.planned(TABLE, *DEMO) == RETRIEVED | {fetch}
    project.snakemake(TABLE, *DEMO)
    assert len(list((project.folder / "resources/models/google").iterdir())) == 2


def test_a_model_that_is_fetched_again_reruns_what_depends_on_it(project):
    planned = project.planned(TABLE, "--forcerun", "fetch_model", *DEMO)
    assert planned == RETRIEVED | {"fetch_model model=google/mt5-base@main"}


@pytest.mark.parametrize(
    ("key", "encoder", "retriever", "missing"),
    [
        ("encoder.model", "./models/mt5", "google/mt5-base", "./models/mt5"),
        ("retriever.pretrained", "google/mt5-base", "/nowhere/mt5", "/nowhere/mt5"),
    ],
)
def test_a_folder_that_is_not_there_is_one_line_before_any_job(tmp_path, key, encoder, retriever, missing):
    project = Project(tmp_path, stub=True)
    configured(project, encoder, retriever)
    done = project.snakemake("--dry-run", TABLE, *DEMO, check=False)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert line.endswith(
        f"config/demo.yaml: {key}: no folder {missing}; correct the path, or name a model of the hub as OWNER/NAME"
    )
    assert "Traceback" not in done.stderr


def test_every_dataset_fetches_its_own_models_and_each_once(tmp_path):
    project = Project(tmp_path, stub=True)

    def fetched(*arguments: str) -> set[str]:
        return {job for job in project.planned(*arguments) if job.startswith("fetch_model")}

    assert fetched("results/esci_es/recall.tsv") == {"fetch_model model=google/mt5-base@main"}
    assert fetched("results/esci_us/recall.tsv") == {"fetch_model model=google-t5/t5-base@main"}
    assert fetched("results/esci_es/baselines.tsv") == {
        "fetch_model model=google/mt5-base@main",
        "fetch_model model=google-bert/bert-base-multilingual-cased@main",
        "fetch_model model=sentence-transformers/paraphrase-multilingual-mpnet-base-v2@main",
        "fetch_model model=sentence-transformers/sentence-t5-base@main",
    }
    assert fetched("--configfile", "config/demo.yaml") == set()
