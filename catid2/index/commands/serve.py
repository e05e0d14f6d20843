"""python -m catid2 serve: a page to search an index in a browser, and the same as JSON."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

# Bytes of a request's first line and headers: a query of 10,000 words is for the model to cut, not for the server.
LONGEST_REQUEST = 2**20
LARGEST_PORT = 65_535


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "serve", help="a page to search in a browser, and JSON", description=__doc__
    )
    parser.add_argument("index", type=Path, help="folder written by rule export_index")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1, this machine)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="0 takes a free one (default 8000)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default cpu)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve until TERM or Ctrl-C; requests that have arrived by then are answered.

    Raises:
        InputError: the index or the address cannot be used, or a library is not installed.
    """
    with listen(arguments.host, arguments.port) as listener:
        try:
            from catid2.index.serve.app import create_app
        except ModuleNotFoundError as error:
            raise InputError(error.name or "", "not installed", "pip install 'catid2[serve]'") from None
        from catid2.index.index import Index

        index = Index(arguments.index, arguments.device)
        # a first search loads what would keep a visitor waiting
        index.search(["warm up"], by=("docid", "bm25"))
        server = new_server(create_app(index))
        host, port, *_ = listener.getsockname()
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C ends it)", flush=True)
        server.run([listener])


def _port(value: str) -> int:
    """Return the number of a port, as a type of argparse."""
    if not value.isdecimal() or int(value) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{value} is not a port; give a number from 0 to {LARGEST_PORT}")
    return int(value)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        InputError: the address cannot be used, such as a port that another program has.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        # gaierror numbers its errors otherwise; the text of others repeats the address
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno)
        raise InputError(
            f"{host}:{port}", f"cannot listen there ({why})", "give another --port or --host"
        ) from None


def new_server(app: FastAPI) -> uvicorn.Server:
    """Return a server for the application that reports errors only."""
    import uvicorn

    options = {"http": "h11", "h11_max_incomplete_event_size": LONGEST_REQUEST}
    return uvicorn.Server(uvicorn.Config(app, access_log=False, log_config=None, **options))
