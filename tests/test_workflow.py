"""The workflow's plans: which jobs run after which change, and errors before any job."""

import re

import pytest

from workflow import Project, planned_jobs

DEMO = ("--configfile", "config/demo.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the project in which every job of the demo has run, with empty outputs."""
    project = Project(tmp_path_factory.mktemp("finished"), stub=True)
    project.snakemake(*DEMO)
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project that a test may change."""
    return finished.copy(tmp_path / "project")


def jobs(rules, datasets, methods, seeds=(0,)):
    """Return the job names of per-method rules."""
    return {
        f"{rule} dataset={dataset} method={method} seed={seed}"
        for rule in rules
        for dataset in datasets
        for method in methods
        for seed in seeds
    }


LOCALES = ("demo_us", "demo_es", "demo_jp")
CHAIN = ("train_rqvae", "assign_docids", "train_retriever", "retrieve")


def tables(*datasets):
    """Return the jobs of the study's tables, which follow any change of a run."""
    return {
        f"{rule} dataset={dataset} study=recall"
        for rule in ("evaluate", "compare_with_bm25")
        for dataset in datasets
    }


TABLES = tables(*LOCALES)


def of_report(planned):
    """Return the jobs of the report stage, which follow any change of a table or of DocIDs."""
    return {job for job in planned if job.split()[0] in REPORT_RULES}


REPORT_RULES = ("report_locales", "trace_beams", "plot_layers", "plot_recall", "all")


def without_report(planned):
    """Return the planned jobs other than the report's, which must be among them if anything is."""
    assert not planned or "report_locales" in planned
    return planned - of_report(planned)


def test_a_loss_weight_reruns_its_method_alone(project):
    project.edit("config/demo.yaml", "beta: 0.03", "beta: 0.02")
    planned = without_report(project.planned(*DEMO))
    assert planned == jobs(CHAIN, LOCALES, ["catid2"]) | TABLES


def test_a_setting_of_the_tests_reruns_no_comparison_with_bm25(project):
    append(project, "config/demo.yaml", "evaluate: {significance: t_test}\n")
    planned = without_report(project.planned(*DEMO))
    assert planned == {f"evaluate dataset={dataset} study=recall" for dataset in LOCALES}


# --- edits of the code

USERS_OF_BEAM = jobs(("train_retriever", "retrieve"), LOCALES, ["catid2", "tiger"])
RQVAE = jobs(CHAIN, LOCALES, ["catid2", "tiger"])


def append(project, path, text):
    """Add `text` to the end of a file of the copy."""
    file = project.folder / path
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        # the retriever's checkpoints are picked by recall of the same beam search
        ("catid2/search/beam.py", "\nWIDEST = 7\n", USERS_OF_BEAM | TABLES),
        ("catid2/quantizer/losses.py", "\nWEIGHT = 7\n", RQVAE | TABLES),
    ],
)
def test_what_an_edit_of_a_module_reruns(project, path, text, expected):
    append(project, path, text)
    assert without_report(project.planned(*DEMO)) == expected


def test_the_pages_template_reruns_the_page_alone(project):
    append(project, "catid2/report/template.html.j2", "<!-- edited -->\n")
    assert project.planned(*DEMO) == {"report_locales", "all"}


def test_a_default_reruns_what_uses_it(project):
    project.edit("catid2/config/bm25.py", "k1: float = Field(1.2,", "k1: float = Field(1.3,")
    assert without_report(project.planned(*DEMO)) == jobs(["search_bm25"], LOCALES, ["bm25"]) | TABLES


def test_edits_that_change_no_result_rerun_nothing(project):
    """Of comments, docstrings, descriptions, help, the order of imports, the runtime, and of what fetches files."""
    append(project, "catid2/search/beam.py", "\n# a comment\n")
    for module in ("runtime/errors", "runtime/writing", "corpus/fetch", "runtime/contents"):
        append(project, f"catid2/{module}.py", "\nLONGEST = 7\n")
    project.edit("catid2/search/beam.py", "Beam search over DocIDs:", "Beam search:")
    project.edit("catid2/config/bm25.py", "Saturation of the term frequency.", "Saturation.")
    project.edit("scripts/embed.py", "embeddings/VIEW.npy to write", "the matrix to write")
    project.edit("catid2/quantizer/losses.py", "import torch\nimport torch.nn.functional as F\n", "")
    project.edit(
        "catid2/quantizer/losses.py",
        "import math\n",
        "import torch.nn.functional as F\nimport torch\nimport math\n",
    )
    assert project.planned(*DEMO) == set()


def test_products_of_one_locale_rerun_that_locale(project):
    products = project.folder / "results/demo_es/corpus/products.parquet"
    products.write_text("other products\n")
    planned = without_report(project.planned(*DEMO))
    expected = jobs(CHAIN, ["demo_es"], ["catid2", "tiger"]) | jobs(["search_bm25"], ["demo_es"], ["bm25"])
    expected |= {f"embed dataset=demo_es view={view}" for view in ["text"]}
    assert planned == expected | tables("demo_es")


def test_a_setting_of_one_dataset_reruns_that_dataset(project):
    project.edit(
        "config/demo.yaml",
        "  demo_jp: {source: demo, locale: jp}",
        "  demo_jp: {source: demo, locale: jp, retrieve: {beams: 120}}",
    )
    planned = without_report(project.planned(*DEMO))
    assert planned == jobs(["retrieve"], ["demo_jp"], ["catid2", "tiger"]) | tables("demo_jp")


STUDIES = (*DEMO, "config/studies.yaml")


def test_the_ablation_trains_what_differs_and_shares_the_rest(project):
    planned = project.planned("results/demo_us/ablation.tsv", *STUDIES)
    other_losses = ["wo_hccl", "wo_cscl", "wo_disl", "only_hccl", "only_cscl", "only_disl"]
    losses = ["three_losses", *other_losses]
    expected = jobs(CHAIN, ["demo_us"], [*losses, "wo_hard_negatives", "wo_category_text"])
    expected |= jobs(CHAIN[1:], ["demo_us"], ["wo_repair"])
    expected |= {"embed dataset=demo_us view=without_category", "evaluate dataset=demo_us study=ablation"}
    assert planned == expected


def test_id_schemes_train_no_rqvae(project):
    planned = project.planned("results/demo_us/id_schemes.tsv", *STUDIES)
    schemes = ["rk_means", "dsi_naive", "dsi_semantic", "nci", "hi_gen"]
    assert planned == jobs(CHAIN[1:], ["demo_us"], schemes) | {"evaluate dataset=demo_us study=id_schemes"}


def test_geometry_needs_no_retriever_and_leaves_out_methods_without_docids(project):
    planned = project.planned("results/demo_us/figures/category_text_geometry.svg", *STUDIES)
    methods = ["three_losses", "wo_category_text", "wo_hccl", "wo_both"]
    expected = jobs(CHAIN[:2], ["demo_us"], methods) | jobs(["measure_geometry"], ["demo_us"], methods)
    expected |= {
        f"{rule} dataset=demo_us study=category_text" for rule in ("compare_geometry", "plot_geometry")
    }
    assert planned == expected | {"embed dataset=demo_us view=without_category"}
    planned = project.planned("results/demo_us/recall_geometry.tsv", *DEMO)
    expected = jobs(["measure_geometry"], ["demo_us"], ["catid2", "tiger"])
    assert planned == expected | {"compare_geometry dataset=demo_us study=recall"}


def test_the_papers_run_is_planned_from_nothing(tmp_path):
    """Every job's time and memory is a figure before any input is there, and four screens of 60 lines hold it all."""
    project = Project(tmp_path, stub=True)
    done = project.snakemake("--dry-run", "--profile", "slurm", "results/esci_es/recall.tsv")
    plan = done.stdout + done.stderr
    planned = planned_jobs(done.stdout)
    assert {"fetch_esci", "fetch_esci_s", "build_corpus dataset=esci_es"} <= planned
    assert jobs(CHAIN, ["esci_es"], ["catid2", "tiger"]) <= planned
    assert not any("esci_us" in job or "esci_jp" in job for job in planned)
    assert "<TBD>" not in plan
    assert not re.search(r"catid2/\w+\.py", plan)
    asked = re.findall(r"mem_mb=\d+.* runtime=\d+", plan)
    assert len(asked) == len(re.findall(r"^ *(?:local)?rule \w+:$", plan, re.M)) > 15
    assert len(plan.splitlines()) <= 240


def test_a_wrong_number_of_the_site_is_one_line(finished):
    project = Project.at(finished.folder)
    project.environment["CATID2_SLURM_GPUS"] = "four"
    done = project.snakemake("--dry-run", "--profile", "slurm", check=False)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("Using profiles")]
    assert said == [
        "error: CATID2_SLURM_GPUS: 'four' is not a whole number of 1 or more; correct it, or unset it to get 8"
    ]


# --- errors before any job; which they are is in test_bad_input_config.py


def error_line(project, *arguments):
    """Return the one line with which a dry-run ends."""
    done = project.snakemake("--dry-run", *arguments, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line


def test_a_wrong_config_is_one_line_before_any_job(tmp_path):
    project = Project(tmp_path, stub=True)
    project.edit("config/demo.yaml", "beta: 0.03", "betta: 1")
    line = error_line(project, *DEMO)
    for word in ("config/demo.yaml", "methods.catid2", "betta", "beta"):
        assert word in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "says"), [("sources: [1, 2\nviews: 3\n", "line 2"), (None, "no such file")]
)
def test_a_broken_config_yaml_is_one_line(tmp_path, content, says):
    project = Project(tmp_path, stub=True)
    path = project.folder / "config" / "config.yaml"
    path.unlink() if content is None else path.write_text(content)
    assert re.match(rf"error: (/.*/)?config/config\.yaml: .*{says}.*; ", error_line(project))


def test_the_report_of_another_configuration_is_kept(project):
    table = project.folder / "results/locales.tsv"
    table.write_text("# a header\ndataset\tlocale\nshop\tus\n")
    assert re.match(
        r"error: results/locales.tsv: compares shop, which \S*config/demo.yaml does not have; set ",
        error_line(project, *DEMO),
    )
    assert project.planned("results/demo_us/recall.tsv", *DEMO) == set()
    append(project, "config/demo.yaml", "report: {folder: results/demo}\n")
    assert (
        "results/demo/locales.tsv, results/demo/report.html" in project.snakemake("--dry-run", *DEMO).stdout
    )


def test_a_raw_file_that_the_config_names_must_be_there(tmp_path):
    project = Project(tmp_path, stub=True)
    project.edit(
        "config/config.yaml", "  esci: {kind: esci}", "  esci: {kind: esci, products: /nowhere/p.parquet}"
    )
    line = error_line(project, "results/esci_us/recall.tsv")
    assert "sources.esci.products: no file /nowhere/p.parquet" in line


def test_a_file_of_pairs_that_the_config_names_must_be_there_and_is_an_input(tmp_path):
    project = Project(tmp_path, stub=True)
    tasks = "retriever:\n  tasks: [{source: query}, {source: pairs, path: pairs.parquet}]\n"
    (project.folder / "pairs.yaml").write_text(tasks)
    more = (*DEMO, "pairs.yaml")
    line = error_line(project, *more)
    assert "retriever.tasks: no file pairs.parquet; correct the path or drop the task" in line
    (project.folder / "pairs.parquet").write_bytes(b"")
    assert "pairs.parquet" in project.snakemake("--dry-run", *more).stdout
