"""The routes: a page, search as JSON, the prefixes of a DocID."""

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from catid2.index.explain import describe_prefix, products_below
from catid2.index.index import Index, Way
from catid2.index.serve.answers import Docid, Found, Health, Hit, Prefix, Product, Refusal, Served
from catid2.index.serve.batching import Batcher, Full
from catid2.runtime.errors import InputError

MOST_HITS = 100  # of a list
EXAMPLES = 4  # products shown of a prefix
BATCH = 32  # requests searched together
CAPACITY = 256  # requests that wait
SECONDS = 10.0  # from the arrival of a request until it is given up


class Options(NamedTuple):
    """What requests agree in that are searched together."""

    k: int
    by: tuple[Way, ...]
    category: str  # "": all


def create_app(
    index: Index, batch: int = BATCH, capacity: int = CAPACITY, seconds: float = SECONDS
) -> FastAPI:
    """Return the application that serves `index`. It searches until its lifespan ends, which answers what waits.

    Args:
        index: an open index.
        batch: the most requests that are searched together.
        capacity: the most that wait; more are refused with 503.
        seconds: the longest that a request takes, its wait included; it then ends with 504.
    """
    settings = index.settings
    page = files("catid2.index.serve").joinpath("page.html").read_text("utf-8")
    served = Served(
        dataset=settings.dataset,
        method=settings.method,
        seed=settings.seed,
        products=len(index),
        categories=dict(Counter(path[0] for path in index.categories if path).most_common()),
    )

    @functools.lru_cache(maxsize=16)
    def products_of(category: str) -> np.ndarray:
        return index.allowed_products(category=category)

    def search_together(options: Options, queries: Sequence[str]) -> list[list[Hit]]:
        allowed = products_of(options.category) if options.category else None
        found = index.search(queries, options.k, allowed=allowed, by=options.by)
        return [[Hit(**hit._asdict()) for hit in hits] for hits in found]

    batcher: Batcher[Options, str, list[Hit]] = Batcher(search_together, batch, capacity)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(
        title="catid2",
        description=f"Search in {settings.dataset} by DocIDs ({settings.method}).",
        version=version("catid2"),
        lifespan=lifespan,
        # FastAPI's pages load their scripts from a network
        docs_url=None,
        redoc_url=None,
    )
    _add_refusals(app, seconds)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def show() -> str:
        return page

    @app.get("/search", responses=_refusals(422, 503, 504))
    async def search(
        q: Annotated[
            str, Query(description="the query; what the model cannot read of a long one is cut off")
        ],
        k: Annotated[int, Query(description="hits per list", ge=1, le=MOST_HITS)] = 10,
        by: Annotated[
            tuple[Way, ...], Query(description="how to search; several lists are fused by reciprocal rank")
        ] = ("docid",),
        category: Annotated[str, Query(description='only its products, such as "Home > Furniture"')] = "",
    ) -> Found:
        """Search for products. A blank query finds nothing."""
        started = time.perf_counter()
        options = Options(k, tuple(dict.fromkeys(by)), category)
        async with asyncio.timeout(seconds):
            hits = await asyncio.wrap_future(batcher.submit(options, q))
        return Found(hits=hits, milliseconds=1000 * (time.perf_counter() - started))

    @app.get("/docid/{docid}", responses=_refusals(404, 422))
    def open_docid(
        docid: Annotated[str, Path(description="codes, such as 12-5-200", pattern=r"^\d{1,9}(-\d{1,9})*$")],
    ) -> Docid:
        """Open a DocID, or the beginning of one."""
        codes = tuple(map(int, docid.split("-")))
        try:
            return Docid(prefixes=[_prefix(index, codes, depth) for depth in range(1, len(codes) + 1)])
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/index")
    async def describe() -> Served:
        """Describe the index."""
        return served

    @app.get("/health")
    async def health() -> Health:
        """Tell that the server answers."""
        return Health(waiting=batcher.waiting)

    return app


def _prefix(index: Index, codes: Sequence[int], depth: int) -> Prefix:
    """Return the first `depth` codes; as examples, products that the next code leaves out."""
    examples = products_below(index, codes[:depth])
    if depth < len(codes):
        examples = np.setdiff1d(examples, products_below(index, codes[: depth + 1]))
    named = [
        Product(product_id=index.product_ids[doc], title=index.titles[doc] or "")
        for doc in examples[:EXAMPLES]
    ]
    return Prefix(**describe_prefix(index, codes[:depth])._asdict(), examples=named)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal} for status in statuses}


def _add_refusals(app: FastAPI, seconds: float) -> None:
    """Turn the errors of routes into a status and one line."""

    def refuse(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": detail}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refuse(422, "; ".join(f"{fault['loc'][1]}: {fault['msg']}" for fault in error.errors()))

    @app.exception_handler(InputError)
    async def unusable(request: Request, error: InputError) -> JSONResponse:
        return refuse(422, str(error))

    @app.exception_handler(Full)
    async def full(request: Request, error: Full) -> JSONResponse:
        return refuse(503, "too many requests wait; try again", {"Retry-After": "1"})

    @app.exception_handler(TimeoutError)
    async def late(request: Request, error: TimeoutError) -> JSONResponse:
        return refuse(504, f"no answer within {seconds:g} s; try again")
