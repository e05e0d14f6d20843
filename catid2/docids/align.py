"""DocIDs of a refreshed catalogue: as many products as possible keep the codes that they had.

A quantiser that is trained again numbers its codes anew, so products that are coded alike as ever get other DocIDs, and
the retriever has to learn all of them again. Renaming the codes of a layer changes nothing else about a quantiser, so
`align` gives them the names under which the earlier catalogue knew most of their products (after arXiv 2604.13273).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy.optimize import linear_sum_assignment

from catid2.corpus.products import canonical_order
from catid2.docids.table import Docids
from catid2.quantizer.codes import collisions, greedy_codes
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE
from catid2.runtime.errors import InputError

log = logging.getLogger(__name__)


class Earlier(NamedTuple):
    """What N documents were called in an earlier catalogue."""

    path: Path  # of its docids.parquet, for messages
    known: np.ndarray  # (N,) bool: the earlier catalogue holds the document
    codes: np.ndarray  # (N, L') int32: its DocID; any where it is not known
    before: np.ndarray  # (N, L) int32: the quantiser's codes before the repair; any where it is not known


def read_earlier(
    path: Path, product_ids: pa.Array | Sequence[str], layers: int, codebook_size: int
) -> Earlier:
    """Read the docids.parquet of an earlier catalogue for these documents (N,), whose quantiser has these sizes.

    Raises:
        InputError: as Docids.read; or a product or a DocID occurs twice, the codes are not of such a quantiser, or
            none of the documents is there.
    """
    old = Docids.read(path)
    old.require_codes()
    canonical_order(old.product_ids.combine_chunks(), path)  # refuses a product that occurs twice
    if shared := collisions(old.codes).documents:
        raise InputError(path, f"{shared} documents share a DocID", "align to DocIDs that are unique")
    if old.before.shape[1] != layers or old.before.max() >= codebook_size:
        have = f"{old.before.shape[1]} layers of at least {old.before.max() + 1} codes"
        what = f"was made by {have}, this quantiser has {layers} of {codebook_size}"
        raise InputError(path, what, "align to DocIDs of the same sizes")
    rows = pc.index_in(pa.array(product_ids, pa.string()), value_set=old.product_ids.combine_chunks())
    known = rows.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        raise InputError(path, "holds none of the documents", "align to DocIDs of the same products")
    rows = rows.fill_null(0).to_numpy()
    return Earlier(path, known, old.codes[rows], old.before[rows])


def match_codes(old: np.ndarray, new: np.ndarray, codebook_size: int) -> np.ndarray:
    """Return the names (L, K) int64 of new codes: code k of layer l becomes `names[l, k]`, a permutation of each layer.

    Layer by layer, from the top, they are those that let the most documents keep their prefix, among the documents that
    have kept it so far. A quantiser whose codes are merely renamed gets all names back.

    Args:
        old: codes (n, L) of documents that both catalogues hold.
        new: their new codes (n, L).
        codebook_size: K.
    """
    names = np.empty((old.shape[1], codebook_size), np.int64)
    kept = np.ones(len(old), bool)
    for layer, own in enumerate(names):
        pairs = new[kept, layer].astype(np.int64) * codebook_size + old[kept, layer]
        together = np.bincount(pairs, minlength=codebook_size**2).reshape(codebook_size, codebook_size)
        own[:] = linear_sum_assignment(together, maximize=True)[1]
        kept &= own[new[:, layer]] == old[:, layer]
    return names


def kept_shares(old: np.ndarray, new: np.ndarray) -> list[float]:
    """Return, for each depth, the share of documents whose codes up to there are equal in `old` and `new`, (n, L)."""
    return np.logical_and.accumulate(old == new, axis=1).mean(axis=0).tolist()


def align(model: RQVAE, embeddings: np.ndarray, order: np.ndarray, where: Path, earlier: Earlier) -> None:
    """Rename the codes of `model`, in place, so that many documents keep the codes they had before the repair.

    Args:
        model: a trained RQ-VAE on the CPU.
        embeddings: (N, D), with `order` and `where` as in catid2.quantizer.latents.encode.
        earlier: of the same documents.

    Raises:
        InputError: as `encode`.
    """
    latents = encode(model, embeddings, order, where)[earlier.known]
    new, old = greedy_codes(latents, model.codebooks.numpy()), earlier.before[earlier.known]
    names = match_codes(old, new, model.codebooks.shape[1])
    renamed = np.take_along_axis(names, new.T, axis=1).T
    model.quantizer.rename(torch.from_numpy(names))
    shares = [" / ".join(f"{share:.1%}" for share in kept_shares(old, codes)) for codes in (renamed, new)]
    log.info("%d documents are known; %s keep their first codes (not aligned: %s)", len(old), *shares)
