"""A digest of the code of a script that changes when a result could change, but not with a comment.

Snakemake does not follow imports, so an edit of a module would rerun nothing. Each rule except the downloads has the
digest of its script as a parameter, and training stores it in its checkpoints. The code is not executed; its import
statements are parsed.
"""

import ast
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

PACKAGE = "catid2"
# How a job starts, stops, reports and writes: an edit here reruns nothing. Therefore the format of tables must not
# change, nor `checkpoint.fingerprint`, which identifies what a retriever was trained on.
RUNTIME = f"{PACKAGE}/runtime/"
# Keyword arguments that describe a setting or an option to users.
_WORDS = {"Field": "description", "add_argument": "help"}


def code_digest(script: str | Path, root: str | Path = ".") -> str:
    """Return a sha256 of the code of `script` and the modules that it imports, without the package `runtime`.

    Comments, layout, docstrings, descriptions of settings and the order of imports do not count. Templates, tables and
    other data files of the package count by their text.

    Args:
        script: relative to `root`.
        root: the folder that holds the package.
    """
    digest = hashlib.sha256()
    for name in [Path(script).as_posix(), *imported_modules(script, root)]:
        if not name.startswith(RUNTIME):
            digest.update(_part(name, (Path(root) / name).read_text("utf-8")))
    return digest.hexdigest()


@functools.cache
def _part(name: str, text: str) -> bytes:
    """Return a file's contribution to a digest."""
    return json.dumps([name, meaning(text) if name.endswith(".py") else text]).encode()


@functools.cache
def meaning(source: str) -> str:
    """Return a module's syntax tree as JSON, without the parts that do not affect what the module does.

    Unlike `ast.dump` the result is the same in all versions of Python, because empty fields are omitted.
    """
    return json.dumps(_shape(_tree(source)))


@functools.cache
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def _shape(node: Any) -> Any:
    if isinstance(node, list):
        shapes = [_shape(item) for item in node if not _is_for_type_checkers(item)]
        # The order of imports does not matter.
        imports = sorted(shape for shape in shapes if shape[0] in ("Import", "ImportFrom"))
        return [imports.pop(0) if shape[0] in ("Import", "ImportFrom") else shape for shape in shapes]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if isinstance(node, ast.ImportFrom):
        fields["names"] = sorted(node.names, key=lambda alias: alias.name)
    if isinstance(node, ast.Call):
        words = _WORDS.get(getattr(node.func, "attr", getattr(node.func, "id", None)))
        fields["keywords"] = [keyword for keyword in node.keywords if words is None or keyword.arg != words]
    return [type(node).__name__, *([name, _shape(value)] for name, value in fields.items())]


def _is_for_type_checkers(node: Any) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not node.orelse


def imported_modules(script: str | Path, root: str | Path = ".") -> list[str]:
    """Return the package's files that `script` imports, directly or indirectly, sorted.

    Imports inside functions count; imports under `if TYPE_CHECKING:` do not. All paths are relative to `root`, the
    folder that holds the package. A data file counts if an imported module in its folder names it in double quotes
    ("words.tsv").
    """
    root = Path(root)
    found: set[Path] = set()
    resolved: set[str] = set()  # names of modules
    waiting = [root / script]
    while waiting:
        names = _imports(waiting.pop().read_text("utf-8")) - resolved
        resolved |= names
        for path in {path for name in names for path in _files(root, name)} - found:
            found.add(path)
            waiting.append(path)
            found.update(_data_files(path))
    return sorted(path.relative_to(root).as_posix() for path in found)


@functools.cache
def _imports(source: str) -> frozenset[str]:
    """Return the dotted names that a module imports from the package; `from a import b` gives both a and a.b."""
    names: set[str] = set()
    waiting: list[ast.AST] = [_tree(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        # An import is a statement, so expressions need no search.
        waiting.extend(child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


def _files(root: Path, module: str) -> list[Path]:
    """Return the files that importing `module` reads: the `__init__.py` of each package, and the module itself."""
    files: list[Path] = []
    path = root
    for part in module.split("."):
        path = path / part
        if path.with_suffix(".py").is_file():
            return [*files, path.with_suffix(".py")]
        if not (path / "__init__.py").is_file():
            break  # a name inside the module, not a module
        files.append(path / "__init__.py")
    return files


def _data_files(module: Path) -> list[Path]:
    """Return the data files next to the module whose names it contains in double quotes."""
    text = module.read_text("utf-8")
    return [path for path in module.parent.glob("*.*") if path.suffix != ".py" and f'"{path.name}"' in text]
