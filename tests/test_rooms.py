"""The package's rooms: imports go one way, and a page for readers names every room."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "catid2"
# A room may import from those before it, and from no other.
ORDER = (
    *("runtime", "config", "plan", "corpus", "pretrained", "embedding", "training", "quantizer", "docids"),
    *(
        "taxonomies",
        "search",
        "retriever",
        "baselines",
        "evaluation",
        "index",
        "studies",
        "report",
        "simulate",
    ),
)


def imports(source: str) -> set[str]:
    """Return the rooms that a module imports from, wherever in it and for whatever purpose."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "catid2":
            names.update(f"catid2.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("catid2.")}


def test_imports_are_found_wherever_they_stand():
    source = (
        "import catid2.a.x\nfrom catid2 import b\nif TYPE_CHECKING:\n    from catid2.c.y import z\n"
        "def f():\n    from catid2.d import w, v\nimport os\nfrom pathlib import Path\n"
    )
    assert imports(source) == {"a", "b", "c", "d"}


def test_every_room_has_its_place_and_nothing_lies_outside():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ORDER)
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_imports_go_one_way():
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for room in ORDER
        for path in (PACKAGE / room).rglob("*.py")
        for other in imports(path.read_text("utf-8"))
        if ORDER.index(other) > ORDER.index(room)
    ]
    assert upwards == []


def test_plan_asks_nothing_but_the_models():
    assert {
        name for path in (PACKAGE / "plan").glob("*.py") for name in imports(path.read_text("utf-8"))
    } <= {*("runtime", "config", "plan")}


def test_the_pages_map_names_every_room():
    page = (ROOT / "docs" / "pipeline.md").read_text("utf-8")
    assert [room for room in ORDER if f"      {room}/" not in page] == []
