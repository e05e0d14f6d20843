"""What a script means, and which modules it imports: compared with what Python itself loads."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from catid2.runtime.code import code_digest, imported_modules, meaning

ROOT = Path(__file__).parent.parent


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_follows_imports_through_modules_functions_and_packages(tmp_path):
    write(
        tmp_path,
        {
            "script.py": "from catid2 import a\n",
            "catid2/__init__.py": "",
            "catid2/a.py": "def f():\n    from catid2.sub.b import thing\n",
            "catid2/sub/__init__.py": "",
            "catid2/sub/b.py": "import catid2.c\nthing = 1\n",
            "catid2/c.py": "import catid2.a\n",
            "catid2/unused.py": "",
        },
    )
    expected = [
        "catid2/__init__.py",
        "catid2/a.py",
        "catid2/c.py",
        "catid2/sub/__init__.py",
        "catid2/sub/b.py",
    ]
    assert imported_modules("script.py", tmp_path) == expected


def test_leaves_out_what_only_type_checkers_import(tmp_path):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import catid2.a\nelse:\n    import catid2.b\n"
    files = {"script.py": text, "catid2/__init__.py": "", "catid2/a.py": "", "catid2/b.py": ""}
    write(tmp_path, files)
    assert imported_modules("script.py", tmp_path) == ["catid2/__init__.py", "catid2/b.py"]


@pytest.mark.parametrize("name", ["page.html.j2", "words.tsv", "us.yaml"])
def test_counts_a_data_file_that_an_imported_module_next_to_it_names(tmp_path, name):
    files = {"script.py": "import catid2.page.html", "catid2/__init__.py": "", "catid2/page/__init__.py": ""}
    files |= {f"catid2/page/{name}": "", f"catid2/page/other-{name}": "", f"catid2/{name}": ""}
    write(tmp_path, files | {"catid2/page/html.py": f'FILE = "{name}"'})
    found = imported_modules("script.py", tmp_path)
    assert [path for path in found if not path.endswith(".py")] == [f"catid2/page/{name}"]
    first = code_digest("script.py", tmp_path)
    write(tmp_path, {f"catid2/page/{name}": "edited"})
    assert code_digest("script.py", tmp_path) != first


def test_every_data_file_of_the_package_counts_and_is_installed():
    """Each is named by a module that a script imports, but one, and is package-data in pyproject.toml."""
    paths = (path for path in (ROOT / "catid2").rglob("*.*") if path.suffix not in (".py", ".pyc"))
    files = {path.relative_to(ROOT).as_posix() for path in paths}
    counted = {path for script in ROOT.glob("scripts/*.py") for path in imported_modules(script, ROOT)}
    assert files - counted == {"catid2/index/serve/page.html"}  # no script serves
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {
        path.relative_to(ROOT).as_posix()
        for package, names in patterns.items()
        for name in names
        for path in ROOT.joinpath(*package.split(".")).glob(name)
    }
    assert files == installed


# Each script is loaded by a process of its own, forked from one that has imported the large libraries.
LOAD = """
import json, os, runpy, sys
import duckdb, matplotlib.pyplot, polars, sklearn.decomposition, torch, transformers
for script in sys.argv[1:]:
    if not os.fork():
        runpy.run_path(script, run_name="loaded")
        modules = (module for name, module in sys.modules.items() if name.split(".")[0] == "catid2")
        print(json.dumps([script, [module.__file__ for module in modules]]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(script)
"""


def test_finds_all_that_python_loads():
    """Importing a script loads no module of the package that the list lacks."""
    scripts = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "scripts").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *scripts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    loaded = dict(map(json.loads, done.stdout.splitlines()))
    assert sorted(loaded) == scripts, done.stderr
    for script, files in loaded.items():
        unlisted = {Path(file).relative_to(ROOT).as_posix() for file in files} - set(
            imported_modules(script, ROOT)
        )
        assert unlisted == set(), script


def test_what_changes_nothing_is_left_out_of_a_modules_meaning():
    plain = """
import b
from a import c, d
def f(x):
    return x + 1
class K(Base):
    width: int = Field(3, ge=1)
"""
    same = """
'''A docstring.'''
from a import d, c
import b
if TYPE_CHECKING:
    import e
# a comment
def f(x):
    '''Another.'''
    return (x +
            1)
class K(Base):
    '''A third.'''
    width: int = Field(3, ge=1, description="in metres")
"""
    assert meaning(plain) == meaning(same)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x + 1", "x + 2"),
        ("x + 1", "x - 1"),
        ("ge=1", "ge=0"),
        ("ge=1", "le=1"),
        ("c, d", "c"),
        ("Base", ""),
        ("f(x)", "f(x, y=1)"),
    ],
)
def test_what_could_change_a_result_changes_a_modules_meaning(old, new):
    source = (
        "from a import c, d\ndef f(x):\n    return x + 1\nclass K(Base):\n    width: int = Field(3, ge=1)\n"
    )
    assert source.count(old) == 1
    assert meaning(source) != meaning(source.replace(old, new))


def test_a_digest_follows_what_is_imported_and_leaves_the_runtime_out(tmp_path):
    modules = {"catid2/__init__.py": "", "catid2/runtime/errors.py": "A = 1\n", "catid2/a.py": "A = 1\n"}
    write(tmp_path, {"script.py": "import catid2.a\nimport catid2.runtime.errors\n", **modules})
    first = code_digest("script.py", tmp_path)
    write(tmp_path, {"catid2/runtime/errors.py": "A = 2\n"})
    assert code_digest("script.py", tmp_path) == first
    write(tmp_path, {"catid2/a.py": "A = 2\n"})
    assert code_digest("script.py", tmp_path) != first
