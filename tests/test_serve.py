"""An index over HTTP: its answers are those of the index, its refusals are clear, and its page works in a browser."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import uvicorn
from browser import open_browser
from fastapi import FastAPI
from index_case import write_index
from retriever_case import WORDS

from catid2.index.commands.serve import listen, new_server
from catid2.index.index import Hit, Index
from catid2.index.serve.app import create_app
from catid2.runtime.errors import InputError
from workflow import ROOT

SECONDS = 300  # the longest wait for what comes at once, on a machine that does much else
QUERY = "red lamp"


class Site(NamedTuple):
    """A running server, and a client of it."""

    server: uvicorn.Server
    client: httpx.Client

    def get(self, path: str, **parameters: object) -> httpx.Response:
        """Return the answer to a request."""
        return self.client.get(path, params=parameters or None)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[Site]:
    """Serve an application on a free port; at the end the server stops as after TERM."""
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = new_server(app)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx.Client(base_url=url, timeout=SECONDS) as client:
            yield Site(server, client)
    finally:
        server.should_exit = True
        thread.join()


class Slow:
    """An index whose searches wait until they are let."""

    def __init__(self, index: Index):
        self.index = index
        self.let = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self.index, name)

    def search(self, *arguments: object, **options: object) -> list[list[Hit]]:
        """Search when it is let."""
        assert self.let.wait(SECONDS)
        return self.index.search(*arguments, **options)

    def __len__(self) -> int:
        return len(self.index)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    return Index(write_index(tmp_path_factory.mktemp("served"), "light").folder)


@pytest.fixture(scope="module")
def site(index) -> Iterator[Site]:
    with serving(create_app(index, seconds=SECONDS)) as site:
        yield site


def same(answer: httpx.Response, hits: list[Hit]) -> bool:
    """Whether an answer has these hits; scores may differ by the rounding of another batch."""
    assert answer.status_code == 200, answer.text
    found = answer.json()["hits"]
    rows = [(one["product_id"], one["title"], tuple(one["category"]), tuple(one["docid"])) for one in found]
    return rows == [hit[:4] for hit in hits] and [one["score"] for one in found] == pytest.approx(
        [hit.score for hit in hits], abs=1e-5
    )


# --- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [("docid",), ("bm25",), ("dense",), ("docid", "bm25")])
@pytest.mark.parametrize("category", [None, "Home", "Home > Rugs"])
def test_a_search_finds_what_the_index_finds(by, category, site, index):
    allowed = None if category is None else index.allowed_products(category=category)
    expected = index.search([QUERY], k=7, by=by, allowed=allowed)[0]
    assert expected
    assert same(site.get("/search", q=QUERY, k=7, by=by, category=category or ""), expected)


def test_clients_at_the_same_time_get_each_their_own_answer(site, index):
    asked = [(f"{one} {other}", 3 + len(other) % 2) for one in WORDS for other in WORDS[:4]]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: site.get("/search", q=one[0], k=one[1]), asked))
    for (query, k), answer in zip(asked, answers, strict=True):
        assert same(answer, index.search([query], k=k)[0])


def test_a_blank_query_finds_nothing_and_a_long_one_is_cut(site, index):
    assert site.get("/search", q=" ").json()["hits"] == []
    long = " ".join(WORDS[number % 7] for number in range(10_000))
    assert same(site.get("/search", q=long), index.search([long])[0])


def test_a_docid_opens_to_the_products_below_each_of_its_prefixes(site, index):
    docid = index.codes[5].tolist()
    prefixes = site.get("/docid/" + "-".join(map(str, docid))).json()["prefixes"]
    assert [one["codes"] for one in prefixes] == [docid[:depth] for depth in (1, 2, 3)]
    for depth, one in enumerate(prefixes, start=1):
        below = np.flatnonzero((index.codes[:, :depth] == docid[:depth]).all(axis=1))
        level = min(depth, 2)
        inside = [doc for doc in below if index.categories[doc][:level] == tuple(one["category"])]
        assert one["products"] == len(below)
        assert one["share"] == pytest.approx(len(inside) / len(below))
        named = [index.rows[example["product_id"]] for example in one["examples"]]
        assert set(named) <= set(below.tolist())
        if depth < 3:
            assert all(index.codes[doc, depth] != docid[depth] for doc in named)
    assert [example["product_id"] for example in prefixes[-1]["examples"]] == [index.product_ids[5]]


def test_the_index_and_the_routes_are_described(site, index):
    description = site.get("/index").json()
    assert (description["dataset"], description["products"]) == ("tiny_us", len(index))
    assert sum(description["categories"].values()) == len(index)
    assert site.get("/health").json() == {"waiting": 0}
    assert set(site.get("/openapi.json").json()["paths"]) == {
        "/search",
        "/docid/{docid}",
        "/index",
        "/health",
    }


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/search", 422, "q: Field required"),
        ("/search?q=lamp&k=0", 422, "k: Input should be greater than or equal to 1"),
        ("/search?q=lamp&k=101", 422, "k: Input should be less than or equal to 100"),
        ("/search?q=lamp&by=luck", 422, "by: Input should be 'docid', 'bm25' or 'dense'"),
        ("/search?q=lamp&category=Hom", 422, "no category 'Hom' in this index; did you mean 'Home'?"),
        ("/docid/9", 404, "DocID 9: no product has it"),
        ("/docid/0-0-0-0", 404, "no product has it"),
        ("/docid/x", 422, "docid: String should match pattern"),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(path, status, detail, site):
    answer = site.get(path)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_full_queue_refuses_and_says_when_to_try_again(index):
    with serving(create_app(index, capacity=0)) as site:
        answer = site.get("/search", q=QUERY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json() == {"detail": "too many requests wait; try again"}


def test_a_late_answer_is_given_up_and_the_next_request_is_answered(index):
    slow = Slow(index)
    with serving(create_app(slow, seconds=0.2)) as site:
        answer = site.get("/search", q=QUERY)
        assert (answer.status_code, answer.json()) == (504, {"detail": "no answer within 0.2 s; try again"})
        slow.let.set()
        assert same(site.get("/search", q=QUERY), index.search([QUERY])[0])


def test_requests_that_have_arrived_are_answered_before_the_server_ends(index):
    slow = Slow(index)
    queries = [f"{one} {other}" for one in WORDS[:3] for other in WORDS[:3]]
    with (
        ThreadPoolExecutor(len(queries)) as pool,
        serving(create_app(slow, batch=1, seconds=SECONDS)) as site,
    ):
        answers = [pool.submit(site.get, "/search", q=query) for query in queries]
        end = time.monotonic() + SECONDS
        while site.get("/health").json()["waiting"] < len(queries) - 1:  # one is being searched
            assert time.monotonic() < end
            time.sleep(0.01)
        site.server.should_exit = True
        slow.let.set()
        for query, answer in zip(queries, answers, strict=True):
            assert same(answer.result(SECONDS), index.search([query])[0])


# --- the command ------------------------------------------------------------------------------------


def test_an_address_that_cannot_be_used_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"127.0.0.1:{port}: cannot listen there \(Address already in use\)"
        ):
            listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"no\.such\.host\.invalid:8000: cannot listen there"):
        listen("no.such.host.invalid", 8000)


def test_the_command_serves_until_it_is_ended(index):
    command = [sys.executable, "-m", "catid2", "serve", index.folder, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[0]
        assert same(
            httpx.get(f"{url}/search", params={"q": QUERY}, timeout=SECONDS), index.search([QUERY])[0]
        )
        # a second server finds the port taken before it reads an index
        port = url.rsplit(":", 1)[1]
        second = [sys.executable, "-m", "catid2", "serve", "nothing", "--port", port]
        done = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert done.returncode == 1
    assert done.stderr == (
        f"error: 127.0.0.1:{port}: cannot listen there (Address already in use); give another --port or --host\n"
    )


# --- the page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_searches_and_opens_docids(width, site, index, tmp_path):
    with open_browser(tmp_path) as page:
        page.resize(width)
        page.open(str(site.client.base_url))
        page.wait_for("document.activeElement.name == 'q'")
        page.type(QUERY)
        page.wait_for("document.querySelector('section')")
        lists = "[...document.querySelectorAll('section')]"
        titles = f"{lists}.map(list => [...list.querySelectorAll('.title')].map(title => title.innerText))"
        by = [("docid",), ("bm25",), ("docid", "bm25")]
        assert page.value(titles) == [[hit.title for hit in index.search([QUERY], by=one)[0]] for one in by]
        page.click("summary")
        page.wait_for("document.querySelector('.tree')")
        docid = index.search([QUERY])[0][0].docid
        names = "[...document.querySelectorAll('.tree b')].map(one => one.innerText)"
        assert page.value(names) == ["-".join(map(str, docid[:depth])) for depth in (1, 2, 3)]
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.errors == []


def test_the_page_filters_and_shows_refusals(site, index, tmp_path):
    with open_browser(tmp_path) as page:
        page.open(f"{site.client.base_url}?q=lamp&category=Home+%3E+Rugs")
        page.wait_for("document.querySelector('section')")
        paths = "[...document.querySelectorAll('.title + .soft')].map(one => one.innerText)"
        assert set(page.value(paths)) == {"Home › Rugs"}
        page.open(f"{site.client.base_url}?q=lamp&category=Hom")
        page.wait_for("document.querySelector('.wrong')")
        assert "did you mean 'Home'?" in page.value("document.getElementById('status').innerText")
        assert page.errors == []
