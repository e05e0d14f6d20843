"""The RQ-VAE (encoder, residual quantiser, decoder), and the folder in which a trained one is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from catid2.quantizer.codebooks import Quantized, ResidualQuantizer
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, require_file, write_json

if TYPE_CHECKING:
    from catid2.config.rqvae import RqvaeConfig

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Architecture:
    """The settings that fix the shapes and the forward pass of an RQ-VAE; the fields are keys of RqvaeConfig."""

    input_dim: int
    layers: int
    codebook_size: int
    latent_dim: int
    hidden: tuple[int, ...]
    layer_norm: bool
    standardize: Literal["none", "unit", "center"]
    codebook_update: Literal["ema", "gradient"]
    ema_decay: float


def architecture(config: "RqvaeConfig", input_dim: int) -> Architecture:
    """Return the architecture that the config gives, for embeddings of `input_dim` dimensions."""
    fields = Architecture.__dataclass_fields__
    return Architecture(input_dim, **{name: getattr(config, name) for name in fields if name != "input_dim"})


class Pass(NamedTuple):
    """The result of a forward pass over (B, D) embeddings."""

    x: Tensor  # (B, D) standardised embeddings: the target of the reconstruction
    z: Tensor  # (B, d) latents
    quantized: Quantized
    reconstruction: Tensor  # (B, D)


class RQVAE(nn.Module):
    """Residual-quantised auto-encoder over D-dimensional embeddings, with L codebooks of K codes in d dimensions."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        widths = [architecture.input_dim, *architecture.hidden, architecture.latent_dim]
        self.register_buffer("mean", torch.zeros(architecture.input_dim))
        self.encoder = _perceptron(widths, architecture.layer_norm)
        self.decoder = _perceptron(widths[::-1], architecture.layer_norm)
        self.quantizer = ResidualQuantizer(
            architecture.layers,
            architecture.codebook_size,
            architecture.latent_dim,
            architecture.codebook_update,
            architecture.ema_decay,
        )

    @property
    def codebooks(self) -> Tensor:
        """(L, K, d) codes."""
        return self.quantizer.codebooks.detach()

    def standardize(self, x: Tensor) -> Tensor:
        """Return (B, D) embeddings in float32, standardised according to `architecture.standardize`."""
        x = x.float()
        if self.architecture.standardize == "center":
            x = x - self.mean
        return x if self.architecture.standardize == "none" else F.normalize(x, dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """Return (B, d) latents of (B, D) raw embeddings."""
        return self.encoder(self.standardize(x)).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Return (B, D) reconstructions, on the scale of the standardised embeddings, of (B, d) latents."""
        return self.decoder(latents).float()

    def forward(self, x: Tensor, distance_gradient: bool = False) -> Pass:
        """Encode, quantise and decode (B, D) raw embeddings, with a straight-through gradient past the quantiser.

        `distance_gradient` is as in `ResidualQuantizer.forward`. Under autocast, encoder and decoder use the reduced
        precision; the quantiser stays in float32.
        """
        x = self.standardize(x)
        z = self.encoder(x).float()
        with torch.autocast(z.device.type, enabled=False):
            quantized = self.quantizer(z, distance_gradient)
            straight_through = z + (quantized.latents - z).detach()
        return Pass(x, z, quantized, self.decode(straight_through))

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Return (B, L) codes of (B, D) raw embeddings."""
        return self.quantizer(self.encode(x)).codes

    def save(self, model: Path, config: Path, details: Mapping[str, Any]) -> None:
        """Write the weights and a JSON file with the architecture, the weights' sha256 and `details`.

        `load` expects them in one folder, as model.safetensors and config.json. The same model gives the same bytes.
        The writes are not atomic; the caller provides temporary paths.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, model)
        write_json(
            config, {**details, "architecture": asdict(self.architecture), "model_sha256": file_sha256(model)}
        )

    @classmethod
    def load(cls, folder: Path) -> "RQVAE":
        """Return the RQ-VAE that `train_rqvae` wrote to a folder, on the CPU, in eval mode.

        Raises:
            InputError: a file is missing or truncated, the weights are not those that config.json was written with,
                or they do not fit its architecture.
        """
        path, config = require_file(folder / MODEL_FILE), folder / CONFIG_FILE
        described, expected = _read_config(config)
        remedy = "run train_rqvae again"
        if file_sha256(path) != expected:
            raise InputError(path, f"its sha256 is not the one in {CONFIG_FILE}", remedy)
        try:
            tensors = load_file(path)
            with torch.device("meta"):  # needs no memory: an edited file can ask for any size
                cls(described).load_state_dict(tensors, assign=True)
        except (SafetensorError, RuntimeError) as error:
            what = f"key 'architecture' does not match the weights ({' '.join(str(error).split())})"
            raise InputError(config, what, remedy) from None
        model = cls(described)
        model.load_state_dict(tensors)
        return model.eval()


def _read_config(path: Path) -> tuple[Architecture, str]:
    """Return the architecture and the weights' sha256 from config.json."""
    content = read_json(path)
    try:
        architecture = TypeAdapter(Architecture).validate_python(content["architecture"])
        return architecture, content["model_sha256"]
    except KeyError as error:
        what = f"key {error} is missing"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"key {'.'.join(map(str, ('architecture', *first['loc'])))!r}: {first['msg']}"
    raise InputError(path, f"not the config of an RQ-VAE ({what})", "run train_rqvae again")


def _perceptron(widths: list[int], layer_norm: bool) -> nn.Sequential:
    """Return linear layers with a ReLU after all but the last."""
    layers: list[nn.Module] = []
    for index, (width, next_width) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width, next_width))
        if index < len(widths) - 2:
            layers += [nn.LayerNorm(next_width)] * layer_norm + [nn.ReLU()]
    return nn.Sequential(*layers)
