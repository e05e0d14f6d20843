"""What trainings are compared with: AdamW as its paper writes it (Loshchilov and Hutter, ICLR 2019), after clipping."""

from collections.abc import Callable

from torch import Tensor


class PlainAdamW:
    """AdamW over named tensors in float64, with the betas and epsilon of Adam's paper.

    Args:
        decays: whether the weights of a name decay.
        weight_decay: of those.
        clip_norm: longest gradient, over all tensors together.
    """

    def __init__(self, decays: Callable[[str], bool], weight_decay: float, clip_norm: float):
        self.decays, self.weight_decay, self.clip_norm = decays, weight_decay, clip_norm
        self.steps = 0
        self.means: dict[str, tuple[Tensor, Tensor]] = {}  # of the gradient and of its square

    def step(
        self, weights: dict[str, Tensor], gradients: dict[str, Tensor], rate: float
    ) -> dict[str, Tensor]:
        """Return the weights after one more step."""
        self.steps += 1
        norm = sum(gradient.double().square().sum().item() for gradient in gradients.values()) ** 0.5
        after = {}
        for name, weight in weights.items():
            gradient = gradients[name].double() * min(1.0, self.clip_norm / norm)
            mean, square = self.means.get(name, (0.0, 0.0))
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            self.means[name] = mean, square
            unbiased = mean / (1 - 0.9**self.steps), square / (1 - 0.999**self.steps)
            decay = self.weight_decay if self.decays(name) else 0.0
            after[name] = weight.double() * (1 - rate * decay) - rate * unbiased[0] / (
                unbiased[1].sqrt() + 1e-8
            )
        return after
