"""How the launchers of a job's nodes find each other, and what they tell each other: one TCP store, held by node 0.

The ranks use the same store to set up their own connections, so that a job needs one port.
"""

import json
import os
import socket
import time
from datetime import timedelta
from typing import NamedTuple

from catid2.errors import InputError
from catid2.failures import Failure

_WAIT = 0.2  # seconds between two looks


class Ending(NamedTuple):
    """Why a job ends before its ranks are done: a signal to a launcher, or else the failure of a rank."""

    signal: int | None = None
    failure: Failure | None = None


class Rendezvous:
    """A launcher among those of the job's nodes. Without another node it only serves the ranks' set-up.

    Args:
        host: of node 0, as the other nodes reach it.
        port: that node 0 listens on; 0 takes any that is free.
        node: this one's number, from 0.
        nodes: how many there are.
        timeout: seconds until all nodes have to be there.

    Raises:
        InputError: node 0 cannot listen on the port, or does not answer in time.
    """

    def __init__(self, host: str, port: int, node: int, nodes: int, timeout: float):
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # one line says it, not pages of C++ frames
        import torch.distributed as dist  # late: a launcher of one process never comes here

        self.host, self.node, self.nodes = host, node, nodes
        self._where = f"node {node} ({socket.gethostname()})"
        self._deadline, self._timeout = time.monotonic() + timeout, timeout
        self._lost = dist.DistError
        try:
            self._store = dist.TCPStore(
                host, port, is_master=node == 0, wait_for_workers=False, timeout=timedelta(seconds=timeout)
            )
        except dist.DistError as error:
            if node == 0:
                reason = "is in use" if "EADDRINUSE" in str(error) else "cannot be listened on"
                raise InputError(f"{host}:{port}", f"the port {reason}", "choose another") from None
            what, remedy = (
                f"no answer within {timeout:g} s",
                "see why node 0 did not start, or raise --rendezvous-timeout",
            )
            raise InputError(f"{host}:{port}", what, remedy) from None
        self.port: int = self._store.port

    def join(self) -> None:
        """Say that this node is there; InputError if another one has its number."""
        if self._store.add(f"node/{self.node}", 1) > 1:
            raise InputError(
                self._where, "this number is taken", "give each node a --node of its own, from 0"
            )
        self._store.add("joined", 1)

    def is_complete(self) -> bool:
        """Return whether all nodes are there; InputError if it is too late for that, or node 0 is lost."""
        try:
            there = self._store.add("joined", 0)
        except self._lost:
            raise InputError(self._where, "node 0 has ended", "see its log, and run again") from None
        if there < self.nodes and time.monotonic() > self._deadline:
            what = f"{there} of {self.nodes} nodes came within {self._timeout:g} s"
            raise InputError(
                self._where, what, "see why the others did not start, or raise --rendezvous-timeout"
            )
        return there == self.nodes

    def announce(self, ending: Ending) -> Ending:
        """Tell the other nodes why the job ends; return the reason of the node that was first to tell one."""
        try:
            return _decode(self._store.compare_set("ending", "", json.dumps(ending)))
        except self._lost:
            return ending

    def heard(self) -> Ending | None:
        """Return why the job ends, if a node has announced it or is lost; None as long as it goes on."""
        if self.nodes == 1:
            return None
        try:
            return _decode(self._store.get("ending")) if self._store.check(["ending"]) else None
        except self._lost:
            line = f"error: node 0 ({self.host}): its launcher is gone; see its log, and run again"
            return Ending(failure=Failure(-1, self.host, line, time.time(), knock_on=True))

    def leave(self, timeout: float) -> None:
        """Return when the ranks of all nodes have ended, or after `timeout` seconds.

        Node 0 holds the store that others' ranks still need; and Slurm kills a step's other tasks when one ends
        with an error, also if those are saving a checkpoint.
        """
        deadline = time.monotonic() + timeout
        try:
            self._store.add("left", 1)
            while self._store.add("left", 0) < self.nodes and time.monotonic() < deadline:
                time.sleep(_WAIT)
        except self._lost:
            return  # node 0 has left already


def _decode(message: bytes) -> Ending:
    number, failure = json.loads(message)
    return Ending(number, None if failure is None else Failure(*failure))
