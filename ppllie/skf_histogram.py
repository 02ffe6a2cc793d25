"""SKF's semantic-guided colour histogram loss (Wu et al., CVPR 2023): each class has the reference's colours.

For each image, class and colour a soft histogram of 256 bins over [0, 1] is taken of the pixels of that class; the
loss is the mean over bins of the difference of two such histograms, summed over images, classes and colours. It needs a
label map and no network: any segmentation serves, also a clustering.
"""

from collections.abc import Iterator
from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from ppcore.errors import ConfigError, DataError
from ppcore.layers import checks

BINS = 256
SLOPE = 400.0  # of the sigmoids at a bin's two edges, which are 1/256 apart
_REACH = 13  # bins from a pixel beyond which its sigmoids are 0 or 1 to 2e-9
_MARGIN = _REACH + 1  # bins outside [0, 1] that a pixel may lie in; farther out it touches none inside
_ROWS = BINS + 2 * _MARGIN
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
        chunk: pixels of an image whose soft bins are in memory at once.

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


class _Histograms(PyLayer):
    """`soft_histograms` of x [N, C, P], chunk by chunk; the backward pass makes the soft bins again.

    A sigmoid is 0 or 1 in float32 but for 13 bins on each side of its pixel, so a pixel touches 27 bins of the 256. Its
    row of 27 is added to the row of its (colour, class, bin) in a table, which is put together in the end.
    """

    @staticmethod
    def forward(ctx, x, label_map, classes, chunk):
        ctx.save_for_backward(x, label_map)
        ctx.classes, ctx.chunk = classes, chunk
        colours, found = x.shape[1], []
        for values, labels in zip(x, label_map, strict=True):
            table = paddle.zeros([colours * classes * _ROWS, 2 * _REACH + 1])
            for soft, rows, _ in _chunks(values, labels, classes, chunk):
                table = table + paddle.scatter(
                    paddle.zeros_like(table), rows, soft[:, :-1] - soft[:, 1:], overwrite=False
                )
            table = table.reshape([colours, classes, _ROWS, -1])
            # Bin k has what the pixels in bin k - offset gave at that offset.
            starts = [_MARGIN + _REACH - place for place in range(2 * _REACH + 1)]
            found.append(sum(table[:, :, start : start + BINS, place] for place, start in enumerate(starts)))
        return paddle.stack(found).transpose([0, 2, 1, 3])

    @staticmethod
    def backward(ctx, grad):
        x, label_map = ctx.saved_tensor()
        found = []
        for values, labels, of_bins in zip(x, label_map, grad.transpose([0, 2, 1, 3]), strict=True):
            # Edge j lies between bins j-1 and j: a pixel that crosses it adds to one and takes from the other.
            nothing = paddle.zeros([*of_bins.shape[:2], _MARGIN + _REACH + 1])
            wide = paddle.concat([nothing, of_bins, nothing], axis=-1)
            of_edges = wide[:, :, 1:] - wide[:, :, :-1]
            table = paddle.stack([of_edges[:, :, place : place + _ROWS] for place in range(2 * _REACH + 2)], axis=-1)
            table = table.reshape([-1, 2 * _REACH + 2])
            parts = [
                SLOPE * (paddle.gather(table, rows) * soft * (1 - soft)).sum(axis=-1).reshape([count, -1])
                for soft, rows, count in _chunks(values, labels, ctx.classes, ctx.chunk)
            ]
            found.append(paddle.concat(parts, axis=-1))
        return paddle.stack(found)


def _chunks(
    values: paddle.Tensor, labels: paddle.Tensor, classes: int, chunk: int
) -> Iterator[tuple[paddle.Tensor, paddle.Tensor, int]]:
    """Of an image's values [C, P], `chunk` pixels at a time: sigmoids at the edges around each, [C·p, 28]; the row of
    its (colour, class, bin) in a table, [C·p]; and C."""
    colours = values.shape[0]
    offsets = paddle.arange(-_REACH, _REACH + 2, dtype="float32")
    first = paddle.arange(colours, dtype="int64").unsqueeze(-1) * classes
    for start in range(0, values.shape[1], chunk):
        place = values[:, start : start + chunk] * BINS
        bins = paddle.clip(paddle.nan_to_num(paddle.floor(place)), -_MARGIN, BINS - 1 + _MARGIN)
        soft = F.sigmoid((SLOPE / BINS) * ((place - bins).unsqueeze(-1) - offsets))
        rows = (first + labels[start : start + chunk]) * _ROWS + bins.astype("int64") + _MARGIN
        yield soft.reshape([-1, 2 * _REACH + 2]), rows.reshape([-1]), colours
