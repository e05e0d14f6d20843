"""How the launchers of a job's nodes find each other, and what they tell each other: one TCP store, held by node 0.

The ranks use the same store to set up their own connections, so that a job needs one port. A call to the store of a
node that has fallen silent does not return, so a thread makes them all, and the launcher reads what it has learnt.
"""

import contextlib
import json
import os
import socket
import threading
import time
from datetime import timedelta
from types import ModuleType
from typing import NamedTuple

from catid2.runtime.errors import InputError
from catid2.runtime.failures import Failure

_PAUSE = 0.2  # seconds between two rounds of calls to the store
_PATIENCE = 2.0  # seconds in which the store takes an announcement, if node 0 is there
_SILENCE = 5.0  # seconds without an answer after which a launcher that could end waits no longer


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
        dist = _distributed()
        self.host, self.node, self.nodes = host, node, nodes
        self._where = f"node {node} ({socket.gethostname()})"
        self._deadline, self._timeout = time.monotonic() + timeout, timeout
        self._dist_error = dist.DistError
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
        # What the launcher wants told
        self._announced: Ending | None = None
        self._leaving = False
        # What the thread has learnt
        self._there = 0
        self._taken = self._lost = False
        self._heard: Ending | None = None
        self._all_left = False
        self._answered = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def join(self) -> None:
        """Start to say that this node is there."""
        if self.nodes == 1:
            self._there, self._all_left = 1, True
        else:
            self._thread.start()

    def is_complete(self) -> bool:
        """Return whether all nodes are there.

        Raises:
            InputError: it is too late for that, node 0 is lost, or another node has this one's number.
        """
        if self._taken:
            raise InputError(
                self._where, "this number is taken", "give each node a --node of its own, from 0"
            )
        if self._lost:
            raise InputError(self._where, "node 0 has ended", "see its log, and run again")
        if self._there < self.nodes and time.monotonic() > self._deadline:
            what = f"{self._there} of {self.nodes} nodes came within {self._timeout:g} s"
            raise InputError(
                self._where, what, "see why the others did not start, or raise --rendezvous-timeout"
            )
        return self._there == self.nodes

    def announce(self, ending: Ending) -> Ending:
        """Tell the other nodes why the job ends; return the reason of the node that was first to tell one."""
        if self.nodes > 1:
            self._announced = ending
            deadline = time.monotonic() + _PATIENCE
            while self._heard is None and not self._lost and time.monotonic() < deadline:
                time.sleep(_PAUSE)
        return self._heard or ending

    def heard(self) -> Ending | None:
        """Return why the job ends, if a node has announced it or node 0 is lost; None as long as it goes on."""
        if self._heard is None and self._lost and not self._all_left:
            line = f"error: node 0 ({self.host}): its launcher is gone; see its log, and run again"
            return Ending(failure=Failure(-1, self.host, line, time.time(), knock_on=True))
        return self._heard

    @property
    def all_left(self) -> bool:
        """Whether the ranks of all nodes have ended; `heard` then knows whether all have ended well."""
        return self._all_left

    def say_left(self) -> None:
        """Tell the other nodes that the ranks of this one have ended."""
        self._leaving = True

    def leave(self, timeout: float) -> None:
        """Return when the ranks of all nodes have ended, or after `timeout` seconds.

        Node 0 holds the store that others' ranks still need; and Slurm kills a step's other tasks when one ends
        with an error, also if those are saving a checkpoint.
        """
        self.say_left()
        deadline = time.monotonic() + timeout
        while not (self._all_left or self._lost):
            now = time.monotonic()
            if now > deadline or now - self._answered > _SILENCE:
                return
            time.sleep(_PAUSE)

    def close(self) -> None:
        """End the thread, unless it waits for an answer."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _talk(self) -> None:
        try:
            with contextlib.suppress(self._dist_error):  # node 0 has ended
                if self._store.add(f"node/{self.node}", 1) > 1:
                    self._taken = True
                    return
                self._store.add("joined", 1)
                while not self._closing.is_set():
                    self._exchange()
                    self._answered = time.monotonic()
                    self._closing.wait(_PAUSE)
        finally:
            self._lost = True

    def _exchange(self) -> None:
        """Tell what is to be told, and learn what the others have told."""
        if self._announced and self._heard is None:
            message = self._store.compare_set("ending", "", json.dumps(self._announced))
            self._heard = _decode(message)
        self._there = self._store.add("joined", 0)
        if self._leaving:
            self._store.set(f"left/{self.node}", "")
        all_left = self._every("left")
        # After that: a node announces first why it ends, and leaves then.
        if self._heard is None and self._store.check(["ending"]):
            self._heard = _decode(self._store.get("ending"))
        if all_left:
            self._store.set(f"parted/{self.node}", "")
            # Node 0 stays until the others know, who would take its end for a loss.
            self._all_left = self.node > 0 or self._every("parted")

    def _every(self, what: str) -> bool:
        return self._store.check([f"{what}/{node}" for node in range(self.nodes)])


def _distributed() -> ModuleType:
    """Import torch.distributed: late, as a launcher of one process never comes here."""
    name = "TORCH_CPP_LOG_LEVEL"
    chosen = name in os.environ
    os.environ.setdefault(name, "FATAL")  # one line says it, not pages of C++ frames
    import torch.distributed as dist

    if not chosen:  # torch has read it; the ranks are to show all
        del os.environ[name]
    return dist


def _decode(message: bytes) -> Ending:
    number, failure = json.loads(message)
    return Ending(number, None if failure is None else Failure(*failure))
