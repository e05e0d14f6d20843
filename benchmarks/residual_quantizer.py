"""Time this project's residual quantiser next to ResidualVQ of vector-quantize-pytorch, on the same latents.

    python benchmarks/residual_quantizer.py [--device cuda]

A training step is forward, commitment loss, backward and the moving average of the codebooks; a coding pass gives
the codes of a whole corpus; k-means sets all codebooks, with as many iterations in both. Given the same codebooks
both must give the same codes and quantised latents, which is checked first.
"""

from typing import NamedTuple

import torch
from measured import Measured, Size, from_command_line, medians, timed
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.losses import quantisation_loss
from catid2.training.distributed import Group

LAYERS, CODES, DIMENSIONS, DECAY, ITERATIONS = 4, 256, 32, 0.95, 30


class Scale(NamedTuple):
    """How much is measured."""

    batch: int
    documents: int  # of the coding pass
    sample: int  # latents that k-means sees
    rounds: int


SCALES: dict[Size, Scale] = {
    "tiny": Scale(300, 1_000, 1_000, 1),
    "short": Scale(4096, 386_392, 50_000, 10),
    "full": Scale(4096, 386_392, 386_392, 30),
}


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return the time of a training step, of a coding pass and of k-means, beside ResidualVQ's."""
    scale, generator = SCALES[size], torch.Generator().manual_seed(0)
    latents = torch.randn(scale.documents, DIMENSIONS, generator=generator).to(device)
    sample, batch = latents[: scale.sample], latents[: scale.batch].clone().requires_grad_()
    group = Group(device=torch.device(device))
    ours = ResidualQuantizer(LAYERS, CODES, DIMENSIONS, decay=DECAY).to(device)
    ours.initialise(latents[: scale.batch], scale.batch / CODES, generator)
    theirs = residual_vq().to(device)
    share_codebooks(ours, theirs)
    require_same(ours, theirs, latents[: scale.batch])
    names = f"L {LAYERS}, K {CODES}, d {DIMENSIONS}"
    step = medians(
        {"ours": lambda: our_step(ours, batch, group), "theirs": lambda: their_step(theirs, batch)},
        scale.rounds,
        device,
    )
    theirs.eval()
    with torch.inference_mode():
        coding = medians(
            {
                "ours": lambda: [ours(rows).codes for rows in latents.split(8192)],
                "theirs": lambda: [theirs(rows)[1] for rows in latents.split(8192)],
            },
            1,
            device,
        )
    kmeans = {
        "ours": timed(lambda: ours.initialise(sample, 1.0, generator), device).seconds,
        "theirs": timed(
            lambda: residual_vq(kmeans_init=True, kmeans_iters=ITERATIONS).to(device)(sample), device
        ).seconds,
    }
    figures = {
        f"residual quantiser, training step, B {scale.batch}": (step, 1e3, "ms"),
        f"residual quantiser, codes of {scale.documents} latents": (coding, 1, "s"),
        f"residual quantiser, k-means on {scale.sample} latents": (kmeans, 1, "s"),
    }
    return [
        Measured(
            "", what, names, unit * seconds["ours"], word, "vector-quantize-pytorch", unit * seconds["theirs"]
        )
        for what, (seconds, unit, word) in figures.items()
    ]


def residual_vq(**options: object) -> ResidualVQ:
    """Return a ResidualVQ that computes what ResidualQuantizer does: straight through, moving average."""
    return ResidualVQ(
        dim=DIMENSIONS,
        num_quantizers=LAYERS,
        codebook_size=CODES,
        decay=DECAY,
        rotation_trick=False,
        **options,
    )


def share_codebooks(ours: ResidualQuantizer, theirs: ResidualVQ) -> None:
    """Give ResidualVQ the codebooks of ours."""
    for layer, codebook in zip(theirs.layers, ours.codebooks.detach(), strict=True):
        layer._codebook.embed.copy_(codebook[None])
        layer._codebook.embed_avg.copy_(codebook[None])


@torch.no_grad()
def require_same(ours: ResidualQuantizer, theirs: ResidualVQ, latents: Tensor) -> None:
    """Raise AssertionError if the two code (B, d) latents differently: by more than a near tie in a thousand."""
    theirs.eval()
    mine, (quantized, codes, _) = ours(latents), theirs(latents)
    theirs.train()
    same = (mine.codes == codes).all(dim=1)
    assert same.float().mean() >= 0.999, f"{(~same).sum()} of {len(same)} latents are coded differently"
    torch.testing.assert_close(mine.latents[same], quantized[same], rtol=1e-4, atol=1e-5)


def our_step(quantizer: ResidualQuantizer, z: Tensor, group: Group) -> None:
    """Quantise (B, d) latents, send the gradient back, move the codebooks."""
    quantized = quantizer(z)
    quantisation_loss(z, quantized.latents, quantized, "sum", len(z)).commitment.backward()
    quantizer.follow(quantized, group)


def their_step(quantizer: ResidualVQ, z: Tensor) -> None:
    """Do the same; the codebooks move in the forward pass."""
    quantizer(z)[2].sum().backward()


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
