"""python -m catid2 search: find products by text in an index."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catid2.config.base import require_at_least
from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file

if TYPE_CHECKING:
    from catid2.index.explain import Explanation, Prefix
    from catid2.index.index import Hit, Index

PROMPT = "query> "
BATCH = 256  # queries of a file that are searched at once


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser("search", help="find products by text", description=__doc__)
    parser.add_argument("index", type=Path, help="folder written by rule export_index")
    parser.add_argument(
        "queries", nargs="*", metavar="QUERY", help="texts; without any, lines of standard input"
    )
    parser.add_argument("--file", type=Path, help="a text per line to search for")
    parser.add_argument("-k", type=int, default=10, help="products per query (default 10)")
    parser.add_argument("--json", action="store_true", help="print a JSON object per query and line")
    parser.add_argument("--allow", type=Path, help="find only the products of this file, an id per line")
    parser.add_argument("--category", help='find only products below a node, "Home & Kitchen > Furniture"')
    parser.add_argument(
        "--with", dest="others", action="append", default=[], choices=["bm25", "dense"],
        help="fuse with another search by reciprocal rank; may be repeated",
    )  # fmt: skip
    parser.add_argument("--beams", type=int, help="DocID prefixes kept at each position")
    parser.add_argument(
        "--below", type=int, metavar="LEVEL",
        help="decode only LEVEL positions, and rank the products below by their vectors; 0 decodes all",
    )  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="show how each DocID was found, code by code")
    parser.add_argument(
        "--expect", action="append", default=[], metavar="PRODUCT_ID",
        help="show where the search loses a product; may be repeated",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="such as cuda (default cpu)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Search for each query and print what was found."""
    require_at_least("-k", arguments.k, 1)
    if arguments.beams is not None:
        require_at_least("--beams", arguments.beams, 1)
    if "" in map(str.strip, arguments.queries):
        raise InputError("query", "blank", "give a text")

    # Imported late: a mistake in the options should not wait for torch.
    from catid2.index.index import Index

    index = Index(arguments.index, arguments.device)
    ids = lines_of(arguments.allow) if arguments.allow else None
    index.require(ids or (), arguments.allow)
    narrowed = ids is not None or arguments.category is not None
    allowed = index.allowed_products(ids, arguments.category) if narrowed else None
    how = {"k": arguments.k, "allowed": allowed, "by": ("docid", *arguments.others)}
    how |= {"beams": arguments.beams, "below": arguments.below}
    show = _print_json if arguments.json else _print_text
    for queries in _batches(arguments):
        for query, hits in zip(queries, index.search(queries, **how), strict=True):
            show(query, hits, _explanations(index, query, hits, arguments, how))
            sys.stdout.flush()


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, without blank ones.

    Raises:
        InputError: the file is missing or not UTF-8.
    """
    return [line.strip() for line in _text_of(path).split("\n") if line.strip()]


def _text_of(path: Path) -> str:
    try:
        return require_file(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, f"not UTF-8 ({error.reason})", "save it as UTF-8") from None


def _batches(arguments: argparse.Namespace) -> Iterator[Sequence[str]]:
    """Yield queries as they come: of the options and the file at once, of standard input line by line."""
    given = [*arguments.queries, *(_queries_of(arguments.file) if arguments.file else [])]
    yield from (given[start : start + BATCH] for start in range(0, len(given), BATCH))
    if not given and not arguments.file:
        yield from ([line.strip()] for line in (_typed() if sys.stdin.isatty() else _piped()))


def _queries_of(path: Path) -> list[str]:
    """Return the lines of a file, blank ones too, so that answers are in step with lines; errors as `lines_of`."""
    return _text_of(path).removesuffix("\n").split("\n")


def _piped() -> Iterator[str]:
    """Yield the lines of standard input, which is UTF-8 as files are."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig")
    try:
        yield from sys.stdin
    except UnicodeDecodeError as error:
        raise InputError("standard input", f"not UTF-8 ({error.reason})", "write it as UTF-8") from None


def _typed() -> Iterator[str]:
    """Yield the lines that a user types, until the end of the input (Ctrl-D)."""
    import readline  # noqa: F401 - gives `input` a history and line editing

    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return


def _explanations(
    index: Index, query: str, hits: Sequence[Hit], arguments: argparse.Namespace, how: dict[str, Any]
) -> dict[str, Explanation]:
    """Return by product what is to be explained: the hits, and products that were expected."""
    from catid2.index.explain import explain

    names = [hit.product_id for hit in hits] if arguments.explain else []
    names += [name for name in arguments.expect if name not in names]
    if not names or not query:
        return {}
    found = explain(index, query, names, **how)
    return {one.product_id: one for one in found}


def _print_json(query: str, hits: Sequence[Hit], explained: dict[str, Explanation]) -> None:
    rows = [
        {name: value for name, value in hit._asdict().items() if name != "doc_id"} | {"rank": rank}
        for rank, hit in enumerate(hits, start=1)
    ]
    content = {"query": query, "hits": rows}
    if explained:
        content["explanations"] = {
            name: [position._asdict() | {"prefix": position.prefix._asdict()} for position in one.positions]
            for name, one in explained.items()
        }
    print(json.dumps(content, ensure_ascii=False))


def _print_text(query: str, hits: Sequence[Hit], explained: dict[str, Explanation]) -> None:
    print(query)
    for rank, hit in enumerate(hits, start=1):
        print(f"{rank:4}  {hit.product_id}  {_short(hit.title)}")
        print(f"      {' > '.join(hit.category)}  DocID {_joined(hit.docid)}  score {hit.score:.3f}")
        _print_positions(explained.pop(hit.product_id, None))
    if not hits:
        print("      nothing found")
    for name, one in explained.items():
        end = f"leaves the beams at position {one.lost_at}" if one.lost_at else "in the beams to the end"
        print(f"   -  {name}  not among these; {end}")
        _print_positions(one)


def _print_positions(explanation: Explanation | None) -> None:
    for number, one in enumerate(explanation.positions if explanation else [], start=1):
        kept = "" if one.kept else "  <- left the beams"
        print(
            f"        {number}: code {one.prefix.codes[-1]:4}  p {one.probability:.3f}"
            f"  rank {one.rank} of {one.candidates}{kept}  {_described(one.prefix)}"
        )


def _described(prefix: Prefix) -> str:
    share = f"{prefix.share:.0%} {' > '.join(prefix.category)}" if prefix.category else ""
    return f"{prefix.products} products{', ' if share else ''}{share}"


def _joined(codes: Sequence[int]) -> str:
    return "-".join(map(str, codes))


def _short(title: str, characters: int = 100) -> str:
    return title if len(title) <= characters else f"{title[: characters - 1]}…"
