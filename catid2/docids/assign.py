"""DocIDs of a corpus: the codes of an ID scheme, made unique, with a report.

The result depends neither on the order of the rows nor on the size of batches: documents are processed in the order of
their product_ids (UTF-8 bytes) and returned in the order of the input.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from catid2.corpus.products import canonical_order
from catid2.docids.align import Earlier, kept_shares
from catid2.docids.repair import Repaired, extra_digit, sinkhorn, sinkhorn_loop, transport
from catid2.docids.schemes.coding import Coding, Quantised
from catid2.quantizer.codes import collisions, distortion, greedy_codes
from catid2.quantizer.diagnostics import category_nmi, category_nmi_chance, dead_codes, perplexity
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.docids import DocidsConfig


class Assignment(NamedTuple):
    """DocIDs of N documents, in the order of the input."""

    codes: np.ndarray  # (N, L') int32: the DocIDs; L' = L + 1 with an extra digit, otherwise L
    before: np.ndarray  # (N, L) int32: the scheme's codes before any repair (for a quantiser the argmin)
    moved: np.ndarray  # (N,) bool: the repair changed one of the first L codes
    overflowed: np.ndarray  # (N,) bool: moved because a prefix had more documents than IDs


def assign_coded(
    coding: Coding,
    product_ids: pa.Array | Sequence[str],
    config: "DocidsConfig",
    earlier: Earlier | None = None,
) -> Assignment:
    """Return the DocIDs of N documents: the scheme's codes, repaired if the scheme quantises.

    Raises:
        InputError: as `assign`.
    """
    if isinstance(coding, Quantised):
        return assign(coding.latents, coding.codebooks, product_ids, config, earlier)
    none = np.zeros(len(coding.codes), bool)
    return Assignment(coding.codes, coding.codes, none, none)


def assign(
    latents: np.ndarray,
    codebooks: np.ndarray,
    product_ids: pa.Array | Sequence[str],
    config: "DocidsConfig",
    earlier: Earlier | None = None,
) -> Assignment:
    """Return the DocIDs of N documents by residual quantisation of their latents and the configured repair.

    A document whose codes are those of an earlier catalogue keeps its DocID of then. So its extra digit stays, and so
    does the code that transport or Sinkhorn chose for it. All other documents share out what is free.

    Args:
        latents: (N, d) floats, in any order.
        codebooks: (L, K, d) floats.
        product_ids: (N,) distinct names; only they break ties.
        config: the repair and its settings.
        earlier: what the documents were called, in DocIDs of the same length; None: nothing is kept.

    Raises:
        InputError: shapes do not fit, a latent or a codeword is not finite, a product_id is null or occurs twice,
            or there are more documents than DocIDs (transport, sinkhorn).
    """
    _check(latents, codebooks, len(product_ids))
    order = canonical_order(product_ids)
    latents = latents[order]
    before = greedy_codes(latents, codebooks)
    keeps = np.zeros(len(before), bool)
    taken = None
    if earlier and config.repair in ("transport", "sinkhorn", "digit"):
        _require_length(earlier, before.shape[1] + (config.repair == "digit"), config)
        keeps = earlier.known[order] & (earlier.before[order] == before).all(axis=1)
        taken = earlier.codes[order[keeps]]
    repaired = _repair(latents[~keeps], codebooks, before[~keeps], taken, config)
    codes = np.empty((len(before), repaired.codes.shape[1]), np.int32)
    codes[~keeps] = repaired.codes
    if taken is not None:
        codes[keeps] = taken
    moved = (codes[:, : before.shape[1]] != before).any(axis=1)
    overflowed = (codes[:, : before.shape[1] - 1] != before[:, :-1]).any(axis=1)
    back = np.argsort(order)
    return Assignment(codes[back], before[back], moved[back], overflowed[back])


def _repair(
    latents: np.ndarray,
    codebooks: np.ndarray,
    before: np.ndarray,
    taken: np.ndarray | None,
    config: "DocidsConfig",
) -> Repaired:
    """Return the codes `before` (N, L) after the configured repair; an extra digit adds a column.

    transport, sinkhorn and digit avoid DocIDs `taken` (T, L') by other documents.
    """
    if config.repair == "transport":
        return transport(latents, codebooks, before, taken)
    settings = {"epsilon": config.sinkhorn_epsilon, "iterations": config.sinkhorn_iterations}
    if config.repair == "sinkhorn":
        return sinkhorn(latents, codebooks, before, taken, **settings)
    codes = before
    if config.repair == "digit":
        codes = extra_digit(before, taken)
    elif config.repair == "sinkhorn_loop":
        codes = sinkhorn_loop(latents, codebooks, before, **settings, rounds=config.sinkhorn_rounds)
    return Repaired(codes, np.zeros(len(codes), bool))


def _require_length(earlier: Earlier, length: int, config: "DocidsConfig") -> None:
    if earlier.codes.shape[1] != length:
        what = f"DocIDs of {earlier.codes.shape[1]} positions, these have {length} (docids.repair is {config.repair})"
        raise InputError(earlier.path, what, "take the repair that they were made with")


def _check(latents: np.ndarray, codebooks: np.ndarray, names: int) -> None:
    if latents.ndim != 2 or codebooks.ndim != 3 or latents.shape[1] != codebooks.shape[2]:
        shapes = f"latents of shape {latents.shape}, codebooks of shape {codebooks.shape}"
        raise InputError("DocIDs", shapes, "latents must be (documents, d), codebooks (layers, codes, d)")
    if not len(latents):
        raise InputError("DocIDs", "no documents", "build a corpus that holds some")
    if len(latents) != names:
        raise InputError(
            "DocIDs", f"{len(latents)} latents for {names} product ids", "embed this corpus again"
        )
    if not np.isfinite(codebooks).all():
        raise InputError("DocIDs", "a codebook holds NaN or infinity", "train the RQ-VAE again")
    finite = np.isfinite(latents).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise InputError(
            "DocIDs", f"the latent of row {row} holds NaN or infinity", "check its embedding and the RQ-VAE"
        )


def require_unique(assignment: Assignment, config: "DocidsConfig") -> None:
    """Raise InputError, with their number, if documents share a DocID and the config does not allow it."""
    left = collisions(assignment.codes)
    if left.documents and not config.allow_collisions:
        raise InputError(
            "DocIDs",
            f"{left.documents} of {len(assignment.codes)} documents share a DocID after repair {config.repair!r}",
            "set repair: transport, or allow_collisions: true to write them as they are",
        )


def describe(
    assignment: Assignment,
    coding: Coding,
    config: "DocidsConfig",
    categories: np.ndarray,
    hccl_dropped: Sequence[float] = (),
    earlier: Earlier | None = None,
) -> dict[str, Any]:
    """Return the content of docids.json: figures of the DocIDs, and what it cost to make them unique.

    Args:
        assignment: of the same documents, in the same order, as `coding` and `categories`.
        coding: what the assignment was made from; without quantisation there is neither distortion nor
            reconstruction error.
        config: the settings that the assignment was made with.
        categories: (N, H) category of each document per level; H may be 0.
        hccl_dropped: as in the config of the RQ-VAE: per level, the share of documents that dropped out of HCCL in
            the last epoch of training.
        earlier: what the assignment was made with; then the report counts the documents of the earlier catalogue, and
            the shares of them that keep 1, 2, … codes of their DocID.
    """
    layers = assignment.before.shape[1]
    sizes = code_sizes(coding, assignment.codes)
    report = {
        "documents": len(assignment.codes),
        "layers": layers,
        "scheme": config.scheme.kind,
        "codes_per_layer": sizes[:layers],
        "length": assignment.codes.shape[1],
        "repair": config.repair if isinstance(coding, Quantised) else None,
        "moved_share": float(assignment.moved.mean()),
        "overflowed_documents": int(assignment.overflowed.sum()),
        "hccl_dropped": list(hccl_dropped),
        "before": _describe_codes(assignment.before, coding, sizes, categories),
        "after": _describe_codes(assignment.codes, coding, sizes, categories),
    }
    if earlier:
        shares = kept_shares(earlier.codes[earlier.known], assignment.codes[earlier.known])
        report["kept"] = {"documents": int(earlier.known.sum()), "shares": shares}
    return report


def code_sizes(coding: Coding, codes: np.ndarray) -> list[int]:
    """Return how many codes each position of the DocIDs `codes` has; an extra digit has at least those of a layer."""
    if isinstance(coding, Quantised):
        layers, size, _ = coding.codebooks.shape
        return [size] * layers + [max(size, int(digit.max()) + 1) for digit in codes.T[layers:]]
    return list(coding.sizes)


def _describe_codes(
    codes: np.ndarray, coding: Coding, sizes: list[int], categories: np.ndarray
) -> dict[str, Any]:
    first, errors = codes, {"distortion": None, "reconstruction_error": None}
    if isinstance(coding, Quantised):
        first = codes[:, : len(coding.codebooks)]  # without an extra digit
        errors["distortion"] = distortion(coding.latents, coding.codebooks, first)
        errors["reconstruction_error"] = coding.reconstruction_error(first)
    used = sizes[: codes.shape[1]]
    return errors | {
        "collisions": collisions(codes)._asdict(),
        "perplexity": [perplexity(column, size) for column, size in zip(codes.T, used, strict=True)],
        "dead_codes": [dead_codes(column, size) for column, size in zip(codes.T, used, strict=True)],
        "category_nmi": category_nmi(first, categories),
        "category_nmi_chance": category_nmi_chance(first, categories),
    }
