"""SKF's semantic-guided colour histogram loss (Wu et al., CVPR 2023): each class has the reference's colours.

For each image, class and colour a soft histogram of 256 bins over [0, 1] is taken of the pixels of that class; the
loss is the mean over bins of the difference of two such histograms, summed over images, classes and colours. It needs a
label map and no network: any segmentation serves, also a clustering.
"""

from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from ppcore.errors import ConfigError, DataError
from ppcore.layers import checks

BINS = 256
SLOPE = 400.0  # of the sigmoids at a bin's two edges, which are 1/256 apart
# The weights of the forks that the authors made of others' training codes, each beside its own normalisation.
FORK_WEIGHTS = {"drbn": 1.0, "snr": 10000.0, "llflow": 1000.0}

Normalization = Literal["drbn", "snr"]


class SemanticHistogramLoss:
    """`weight` times the histogram loss; a criterion for any network that makes images.

    Args:
        classes: of the label maps, which hold 0..classes-1. A class without pixels adds nothing.
        normalization: what the sum over images, classes and colours is divided by: `drbn` (N images, H x W) by
            3·N·classes·H·W, `snr` by N·H·W; each as in the fork of that name. The values differ by 3·classes.
        weight: in the total. The forks have 1 (DRBN), 1 or 10000 (SNR) and 1000 (LLFlow, whose normalisation is not
            known here): `FORK_WEIGHTS`.
        labels: the name of the label map in the batch, integers [N, H, W].
        chunk: pixels whose soft bins are in memory at once, 256 floats for each colour.

    Raises:
        ConfigError: an argument out of range; when called: there is no label map in the batch.
        DataError: when called: a label map of another size, or with labels that are no class.
    """

    def __init__(
        self,
        *,
        classes: int,
        normalization: Normalization,
        weight: float = 1.0,
        labels: str = "label_map",
        chunk: int = 8192,
    ):
        checks.whole(self, 1, classes=classes, chunk=chunk)
        checks.choice(self, ("drbn", "snr"), normalization=normalization)
        checks.positive(self, weight=weight)
        self.classes, self.normalization, self.weight = classes, normalization, weight
        self.labels, self.chunk = labels, chunk

    def __call__(self, outputs: paddle.Tensor | tuple, batch: dict) -> paddle.Tensor:
        """The loss, a scalar.

        Args:
            outputs: images [N, 3, H, W], or a tuple whose first they are (UHDFour's in training mode).
            batch: `target` [N, 3, H, W] and the label map.
        """
        image = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        if self.labels not in batch:
            raise ConfigError(
                f"SemanticHistogramLoss: the batches have no {self.labels!r}: add ppllie.label_maps.ColourClasses to "
                "DataLoader.Train.transforms, or take ppllie.label_maps.LabelledPairs as the dataset"
            )
        return self.weight * histogram_loss(
            image, batch["target"], batch[self.labels], self.classes, self.normalization, chunk=self.chunk
        )


def histogram_loss(
    image: paddle.Tensor,
    target: paddle.Tensor,
    label_map: paddle.Tensor,
    classes: int,
    normalization: Normalization,
    *,
    chunk: int = 8192,
) -> paddle.Tensor:
    """The loss of images [N, C, H, W] against `target` under a label map [N, H, W], a scalar; see the class.

    The label map may be that of the image itself (SKF segments the prediction) or of the reference: both images are
    counted under the same one.

    Raises:
        DataError: the label map's size is not the images', or a label is not within 0..classes-1.
    """
    batch, _, height, width = image.shape
    if list(label_map.shape) != [batch, height, width]:
        raise DataError(f"the label map is {list(label_map.shape)}, the images are {list(image.shape)}")
    label_map = label_map.astype("int64").reshape([batch, -1])
    least, most = int(label_map.min()), int(label_map.max())
    if least < 0 or most >= classes:
        raise DataError(f"the label map holds {least}..{most}, but there are {classes} classes (0..{classes - 1})")
    counts = soft_histograms(image, label_map, classes, chunk=chunk)
    with paddle.no_grad():
        wanted = soft_histograms(target, label_map, classes, chunk=chunk)
    total = (counts - wanted).abs().mean(axis=-1).sum()
    divisor = batch * height * width
    return total / (divisor * classes * 3 if normalization == "drbn" else divisor)


def soft_histograms(
    image: paddle.Tensor, label_map: paddle.Tensor, classes: int, *, chunk: int = 8192
) -> paddle.Tensor:
    """Soft histograms, not normalised, of each image, class and colour: [N, classes, C, 256] float32.

    Bin k counts a pixel x as sigmoid(400 (x - k/256)) - sigmoid(400 (x - (k+1)/256)).

    Args:
        image: [N, C, H, W] or [N, C, P].
        label_map: int64 [N, H, W] or [N, P].
        classes: how many.
        chunk: pixels at a time. Neither direction keeps the soft bins of more than these.
    """
    x = image.astype("float32").reshape([image.shape[0], image.shape[1], -1])
    return _Histograms.apply(x, label_map.reshape([image.shape[0], -1]), classes, chunk)


def _edges(x: paddle.Tensor) -> paddle.Tensor:
    """Sigmoids of values [..., P] at the 257 edges: [..., P, 257]."""
    edges = paddle.arange(BINS + 1, dtype="float32") / BINS
    return F.sigmoid(SLOPE * (x.unsqueeze(-1) - edges))


class _Histograms(PyLayer):
    """`soft_histograms` of x [N, C, P], chunk by chunk; the backward pass makes the bins again."""

    @staticmethod
    def forward(ctx, x, label_map, classes, chunk):
        ctx.save_for_backward(x, label_map)
        ctx.chunk = chunk
        places = paddle.arange(classes, dtype="int64").unsqueeze(-1)  # [classes, 1]
        found = []
        for values, labels in zip(x, label_map, strict=True):
            total = paddle.zeros([x.shape[1], classes, BINS])
            for start in range(0, x.shape[2], chunk):
                soft = _edges(values[:, start : start + chunk])
                belongs = (labels[start : start + chunk].unsqueeze(0) == places).astype("float32")  # [classes, P]
                total = total + paddle.matmul(belongs, soft[:, :, :-1] - soft[:, :, 1:])
            found.append(total)
        return paddle.stack(found).transpose([0, 2, 1, 3])

    @staticmethod
    def backward(ctx, grad):
        x, label_map = ctx.saved_tensor()
        # Edge j lies between bins j-1 and j: moving a pixel across it adds to one and takes from the other.
        at_edges = _differences(grad)
        found = []
        for values, labels, edges in zip(x, label_map, at_edges, strict=True):
            parts = []
            for start in range(0, x.shape[2], ctx.chunk):
                soft = _edges(values[:, start : start + ctx.chunk])
                mine = paddle.gather(edges, labels[start : start + ctx.chunk], axis=1)  # [C, P, 257]
                parts.append(SLOPE * (mine * soft * (1 - soft)).sum(axis=-1))
            found.append(paddle.concat(parts, axis=1))
        return paddle.stack(found)


def _differences(grad: paddle.Tensor) -> paddle.Tensor:
    """Gradients at bins [N, classes, C, 256] -> at edges [N, C, classes, 257]."""
    grad = grad.transpose([0, 2, 1, 3])
    nothing = paddle.zeros([*grad.shape[:3], 1])
    return paddle.concat([grad, nothing], axis=-1) - paddle.concat([nothing, grad], axis=-1)
