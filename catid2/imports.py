"""Which of the package's modules a script imports, so that an edit of one reruns the stages that use it.

Snakemake compares a rule's own code and inputs, but does not follow imports. Each rule therefore lists as
input what this module finds by reading the import statements (nothing is executed).
"""

import ast
from pathlib import Path

PACKAGE = "catid2"


def imported_modules(script: str | Path, root: str | Path = ".") -> list[str]:
    """Return the package's files that `script` imports, directly or through each other, sorted.

    Imports inside functions count, imports for type checkers alone (`if TYPE_CHECKING:`) do not. Paths are
    relative to `root`, the folder that holds the package; `script` is relative to it as well. Templates
    (`*.j2`) count when a module of their folder is imported.
    """
    root = Path(root)
    found: set[Path] = set()
    waiting = [root / script]
    while waiting:
        for module in _imports(waiting.pop()):
            for path in _files(root, module):
                if path not in found:
                    found.add(path)
                    if path.suffix == ".py":
                        waiting.append(path)
    return sorted(path.relative_to(root).as_posix() for path in found)


def _imports(path: Path) -> set[str]:
    """Dotted names that `path` imports from the package; `from a import b` yields both a and a.b."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), filename=str(path))]
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
        waiting.extend(ast.iter_child_nodes(node))
    return {name for name in names if name.split(".")[0] == PACKAGE}


def _files(root: Path, module: str) -> list[Path]:
    """Files that importing `module` reads: each package's `__init__.py` on the way, and the module itself."""
    files: list[Path] = []
    path = root
    for part in module.split("."):
        path = path / part
        if path.with_suffix(".py").is_file():
            return [*files, path.with_suffix(".py"), *_data_files(path.parent)]
        if not (path / "__init__.py").is_file():
            break  # a name inside the module, not a module
        files.append(path / "__init__.py")
    return files


def _data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.j2"))
