"""What SMG-style networks are trained with: both images near the reference, and the edges near its Canny edges."""

import paddle
import paddle.nn.functional as F

from ppcore.errors import ConfigError

_FINAL, _INITIAL, _EDGES = 10.0, 1.0, 5.0  # weights in SMG's total
_BALANCE = 1.1


def rcf_loss(edges: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
    """Class-balanced binary cross-entropy of edge maps, as RCF (Liu et al. 2017) has it, a scalar: a mean over pixels.

    An edge pixel weighs share(no edge), any other 1.1 · share(edge); shares are of the whole batch. A batch without any
    edge therefore costs nothing.

    Args:
        edges: probabilities [B, 1, H, W].
        target: 0 or 1, the same shape.
    """
    target = target.astype("float32")
    share = target.mean()
    weight = target * (1 - share) + (1 - target) * (_BALANCE * share)
    return F.binary_cross_entropy(edges.astype("float32"), target, weight=weight)


class SMGStyleLoss:
    """10 · MSE of the result + MSE of the initial image + 5 · RCF loss of the edges.

    These are SMG's terms and weights without two that need other networks: LPIPS of both images (0.8 each), and the
    adversarial term on the edges. So it is not the published loss.

    Raises:
        ConfigError: when called: outputs that are not the network's three, or a batch without `edges`.
    """

    def __call__(self, outputs: tuple, batch: dict) -> paddle.Tensor:
        """The loss, a scalar.

        Args:
            outputs: (result, initial image, edges) of `SMGStyle` in training mode.
            batch: `target` [B, 3, H, W] and `edges` [B, 1, H, W], 0 or 1 (`ppllie.canny_edges.CannyEdges`).
        """
        if not isinstance(outputs, (tuple, list)) or len(outputs) != 3:
            raise ConfigError(
                "SMGStyleLoss needs the three outputs of ppllie.SMGStyle in training mode: choose that network and "
                "leave Global.eval_mode_training false"
            )
        if "edges" not in batch:
            raise ConfigError(
                "SMGStyleLoss: the batches have no edges: add {name: ppllie.canny_edges.CannyEdges} to "
                "DataLoader.Train.transforms, before PairToFloat"
            )
        result, initial, edges = outputs
        target = batch["target"]
        pixels = _FINAL * F.mse_loss(result, target) + _INITIAL * F.mse_loss(initial, target)
        return pixels + _EDGES * rcf_loss(edges, batch["edges"])
