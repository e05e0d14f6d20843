"""The contrast of DisL within a block of a batch; value and gradient are computed together.

Autograd would keep the similarities for its backward pass and read the (n, D) anchors several times more, once for each
step of normalising them.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from catid2.quantizer.blocks import IGNORED, Contrasted
from catid2.quantizer.contrast import Similarity


def dispersion(block: Contrasted, similarity: Similarity, temperature: float) -> Tensor:
    """Return Σ_i -log( exp s_ip / Σ_j exp s_ij ) over the anchors i of a block, whose positive is the key p.

    Args:
        block: anchors, which get the gradient, and keys.
        similarity: s is as in catid2.quantizer.contrast.contrast_features.
        temperature: τ > 0 divides s.
    """
    return _Dispersion.apply(*block, similarity, temperature)


class _Dispersion(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        anchors: Tensor,
        keys: Tensor,
        positives: Tensor,
        padding: Tensor | None,
        similarity: Similarity,
        temperature: float,
    ) -> Tensor:
        scores = anchors @ keys.mT
        # Cosines are normalised after the product: for D above the number of keys that is less than copies of both.
        if similarity == "cosine":
            lengths, of_keys = (rows.norm(dim=-1, keepdim=True).clamp_min(1e-12) for rows in (anchors, keys))
            slope = 1 / (temperature * of_keys.mT)
            scores.mul_(slope).div_(lengths)
        else:
            slope = 2 / temperature
            scores.mul_(slope).sub_((keys.square().sum(-1) / temperature).unsqueeze(-2))
        if padding is not None:
            scores.masked_fill_(padding, torch.finfo(scores.dtype).min)
        positives = positives.view(*scores.shape[:-1], 1)
        counted, places = positives != IGNORED, positives.clamp_min(0)
        shares = scores.log_softmax(-1)
        loss = -(shares.gather(-1, places) * counted).sum()
        pull = shares.exp_().scatter_add_(-1, places, -torch.ones_like(places, dtype=scores.dtype))
        pull *= counted  # the loss by its score
        if similarity == "cosine":
            turned = (pull * scores).sum(-1, keepdim=True) / lengths.square()
            gradient = pull.mul_(slope).div_(lengths) @ keys
            gradient.addcmul_(anchors, turned, value=-1)  # a longer anchor has the same cosines
        else:
            gradient = pull.mul_(slope) @ keys
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (own,) = ctx.saved_tensors
        return gradient * own, None, None, None, None, None
