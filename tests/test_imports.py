"""Which modules a script imports: compared with what Python itself loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from catid2.imports import imported_modules

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


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


def test_counts_templates_beside_an_imported_module(tmp_path):
    files = {"script.py": "import catid2.page.html", "catid2/__init__.py": "", "catid2/page/__init__.py": ""}
    write(tmp_path, files | {"catid2/page/html.py": "", "catid2/page/page.html.j2": ""})
    assert "catid2/page/page.html.j2" in imported_modules("script.py", tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_finds_all_that_python_loads(script):
    """Importing a script loads no module of the package that the list lacks."""
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='loaded')\n"
        "print(*sorted(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'catid2'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"scripts/{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {Path(path).relative_to(ROOT).as_posix() for path in done.stdout.split()}
    assert loaded <= set(imported_modules(f"scripts/{script}", ROOT))
