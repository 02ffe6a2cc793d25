"""What MBLLEN's released test script does to the network's output before it saves it: stretched tones, more colour.

It works on a whole image: two percentiles of its luma decide. It belongs to inference alone;
all of it is plain tensor arithmetic, so that an export holds it, too.
"""

import paddle

# Luma of the script, whose blue term reads green again.
RED, GREEN = 0.299, 0.587 + 0.114
BRIGHT, SHARE = 0.8, 0.05  # fewer than this share of pixels as bright as that: the image is brightened
HIGH, LOW = 95, 5  # percentiles: the first goes to BRIGHT, the second to 0
SATURATION = 0.8  # power
EPSILON = 1.1920929e-07  # OpenCV's guard of the divisions of HSV, FLT_EPSILON


def postprocess(y: paddle.Tensor) -> paddle.Tensor:
    """The released script's post-processing of images [B, 3, H, W], each on its own.

    1. luma' = 0.299 R + 0.587 G + 0.114 G. Where at least one pixel has luma' <= 1, and less than 5 % as many as those
       have luma' >= 0.8, the image is multiplied by 0.8 over the 95th percentile of luma' and cut at 1.
    2. The 5th percentile of the new image's luma' is subtracted, and the image divided by 1 minus it.
    3. HSV: the saturation goes to the power 0.8. The result is cut at 1, and not at 0.

    With hue and value kept, HSV there and back moves each colour c to v · (1 - s^0.8 · (v - c) / (v - m)), where v and m
    are the largest and the smallest of the three and s = (v - m) / |v|: no hue is computed. Divisions have OpenCV's epsilon.

    Percentiles are linear between the order statistics (numpy's default). Float32 throughout. Where the script
    would divide by 0 or turn the image round (its 5th percentile 1 or more), step 2 is left out; a black image stays so.
    """
    y = brightened(y)
    low = percentile(luma(y), LOW)
    stretched = (y - low) / paddle.clip(1.0 - low, min=EPSILON)
    return saturated(paddle.where(low < 1.0, stretched, y))


def brightened(y: paddle.Tensor) -> paddle.Tensor:
    """Step 1 of `postprocess`: [B, 3, H, W] to the same."""
    gray = luma(y)
    bright = (gray >= BRIGHT).astype("float32").sum(1)
    counted = (gray <= 1.0).astype("float32").sum(1)
    dark = (bright < SHARE * counted).reshape([-1, 1, 1, 1])
    factor = BRIGHT * paddle.reciprocal(paddle.clip(percentile(gray, HIGH), min=EPSILON))
    return paddle.where(dark, paddle.clip(y * factor, max=1.0), y)


def luma(y: paddle.Tensor) -> paddle.Tensor:
    """The script's luma of [B, 3, H, W], a row an image: [B, H·W]."""
    return paddle.flatten(RED * y[:, 0] + GREEN * y[:, 1], 1)


def percentile(values: paddle.Tensor, percent: int) -> paddle.Tensor:
    """The percentile of each row of [B, N], linear between neighbours in order: [B, 1, 1, 1]."""
    ordered = paddle.sort(values, axis=1)
    last = paddle.shape(ordered)[1] - 1
    hundredths = last * percent  # of a place, exact
    below = hundredths // 100
    share = (hundredths - below * 100).astype("float32") / 100.0
    above = paddle.minimum(below + 1, last)
    first = paddle.index_select(ordered, below.reshape([1]), axis=1)
    second = paddle.index_select(ordered, above.reshape([1]), axis=1)
    return (first + (second - first) * share).reshape([-1, 1, 1, 1])


def saturated(y: paddle.Tensor) -> paddle.Tensor:
    """Images [B, 3, H, W] with HSV's saturation to the power `SATURATION`, cut at 1."""
    value, least = y.max(1, keepdim=True), y.min(1, keepdim=True)
    spread = value - least
    saturation = paddle.pow(spread / (value.abs() + EPSILON), SATURATION)
    return paddle.clip(value * (1.0 - saturation * (value - y) / (spread + EPSILON)), max=1.0)
