"""The encoder of an index: what makes vectors of its queries, and of products that are added."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from catid2.embedding.queries import BATCH_TOKENS, load_encoder
from catid2.index.folder import ENCODER
from catid2.pretrained.files import files_in, folder_to_read
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from catid2.config.embed import View


class IndexEncoder:
    """Encodes queries and documents in the space of an index's vectors.

    Args:
        folder: of the index.
        view: its view.
        device: for a transformer.
    """

    def __init__(self, folder: Path, view: View, device: torch.device):
        self.view = view
        if view.encoder.kind == "tfidf_svd":
            from catid2.embedding.lsa import LsaEncoder

            self._encoder = LsaEncoder.load(folder / ENCODER, view.encoder)
        else:
            from catid2.embedding.encoders import TransformerEncoder

            own = {"model": str((folder / ENCODER).absolute()), "prefix": ""}
            self._encoder = TransformerEncoder(view.encoder.model_copy(update=own), device, BATCH_TOKENS)

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors (n, d) float16 of queries."""
        return self._encode([self.view.query_prefix + text for text in texts])

    def documents(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors (n, d) float16 of documents' texts, made by the template of the view."""
        prefix = getattr(self.view.encoder, "prefix", "")
        return self._encode([prefix + text for text in texts])

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder.encode(texts).astype(np.float16, copy=False)


def save_encoder(folder: Path, view: View, embeddings: Path, products: Path) -> None:
    """Write the encoder of the view's vectors (`embeddings`, VIEW.npy) to the index in `folder`.

    A pretrained encoder is copied, so that the index needs neither a network nor the folder that it was read from.

    Raises:
        InputError: as `load_encoder`; or a pretrained encoder has weights as pickles alone.
    """
    encoder = load_encoder(view.of_documents(), embeddings, products)
    target = folder / ENCODER
    if view.encoder.kind == "tfidf_svd":
        encoder.save(target)
        return
    source = folder_to_read(view.encoder.pretrained_model)
    for name in files_in(source):
        if name.endswith(".bin"):
            remedy = (
                f"convert them: AutoModel.from_pretrained({str(source)!r}).save_pretrained(…), and name that"
            )
            raise InputError(source / name, "weights as a pickle, which an index does not hold", remedy)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
