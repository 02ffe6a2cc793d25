"""The real two-dimensional Fourier transform as eight small matrix products, for graphs with open sizes.

A transform over N = n1·n2 points is one over n1, a twiddle and one over n2; with the twiddle merged
into the second, both are matrix products (Cooley and Tukey 1965, Bailey 1990's four-step form without
its transpositions): 480 points cost 48 + 2·10 products a value, where a dense matrix costs 480.

Maps are channels-last with the axis whose half is kept in front, [B, W, H, C], and travel as matrices
[B·W·H, C], for which an engine has no layout to choose: every product contracts an axis (or two neighbours)
in place, over long contiguous rows, and nothing is transposed. The price is the order of the frequencies.
They come as *slots* [B·W'·H, C]: W' ≥ W//2 + 1 slots of columns, some of them twice, rows in another order. What treats each frequency alone
(amplitude, phase, 1x1 convolutions) does not mind; `natural` and `slots` convert for what does.

Tables are computed in the graph from the sizes, which stay open in an exported file, factors too. Products k·n
are reduced modulo N as integers, and cos and sin are exactly 0 where they should be: so the imaginary part of
the self-conjugate bins is exactly 0, as the canonical form of `ppcore.layers.fourier` wants it.
"""

import math

import paddle

Size = paddle.Tensor  # 0-d int64: a size that may be open


def sizes(x: paddle.Tensor) -> list[Size]:
    """The sizes of x as tensors, open or not."""
    shape = paddle.shape(x).astype("int64")
    return [shape[axis] for axis in range(x.ndim)]


class DFT2D:
    """The transform for maps [B·W·H, C] of one size, and its inverse. Its tables are made once, here.

    Args:
        width: W, the axis of which half the frequencies are kept.
        height: H.
    """

    def __init__(self, width: Size, height: Size):
        self.width, self.height = width, height
        # A large first factor leaves fewer slots twice; the second axis has none.
        self.w1, self.w2 = _factors(width, 4)
        self.h1, self.h2 = _factors(height, 1)
        self.half = self.w1 // 2 + 1
        # The frequencies of the column slots [k1, k2] before the upper half is mirrored, and of the row slots.
        self.columns = _range(self.half)[:, None] + self.w1 * _range(self.w2)[None]
        self.rows = _range(self.h1)[:, None] + self.h1 * _range(self.h2)[None]
        # A slot of the upper half holds its mirror image, which conjugates it.
        self.flip = 1 - 2 * (self.columns * 2 > width).astype("float32")
        self._forward_tables()
        self._inverse_tables()

    def _forward_tables(self) -> None:
        w1, w2, h1, h2, half = self.w1, self.w2, self.h1, self.h2, self.half
        cos, sin = _wave(_range(half)[:, None] * _range(w1)[None], w1)  # [k1, n1]
        self.over_w1 = _table([2 * half, w1], [[cos], [-sin]], 1, 1)
        cos, sin = _wave(self.columns[:, :, None] * _range(w2), self.width)  # [k1, k2, n2]
        flip = self.flip[:, :, None]
        self.over_w2 = _table([half, 2 * w2, 2 * w2], [[cos, sin], [-sin * flip, cos * flip]], 2, 2)
        cos, sin = _wave(_range(h1)[:, None] * _range(h1)[None], h1)  # [k1, n1]
        self.over_h1 = _table([2 * h1, 2 * h1], [[cos, sin], [-sin, cos]], 1, 1)
        cos, sin = _wave(self.rows[:, :, None] * _range(h2), self.height)  # [k1, k2, n2]
        self.over_h2 = [_table([h1, h2, 2 * h2], [part], 2, 2) for part in ([cos, sin], [-sin, cos])]

    def _inverse_tables(self) -> None:
        w1, w2, h1, h2, half = self.w1, self.w2, self.h1, self.h2, self.half
        cos, sin = _wave(_range(h2)[None, :, None] * self.rows[:, None, :], self.height)  # [k1, n2, k2]
        self.from_h2 = _table([h1, 2 * h2, 2 * h2], [[cos, -sin], [sin, cos]], 1, 2)
        cos, sin = _wave(_range(h1)[:, None] * _range(h1)[None], h1)  # [n1, k1]
        self.from_h1 = _table([2 * h1, 2 * h1], [[cos, -sin], [sin, cos]], 0, 2)
        # Every column but 0 and W/2 stands for its mirror image, too; a slot that is there twice counts once.
        alone = (self.columns * 2) % self.width == 0
        repeated = paddle.logical_and((_range(half)[:, None] * 2) % w1 == 0, self.columns * 2 > self.width)
        weight = (2 - alone.astype("float32")) * (1 - repeated.astype("float32"))
        weight = (weight / (self.width * self.height).astype("float32"))[:, None]  # [k1, 1, k2]
        cos, sin = _wave(_range(w2)[None, :, None] * self.columns[:, None, :], self.width)  # [k1, n2, k2]
        signed = weight * self.flip[:, None]
        self.from_w2 = _table(
            [half, 2 * w2, 2 * w2], [[cos * weight, -sin * signed], [sin * weight, cos * signed]], 1, 3
        )
        cos, sin = _wave(_range(w1)[:, None] * _range(half)[None], w1)  # [n1, k1]
        self.from_w1 = _table([w1, 2 * half], [[cos, -sin]], 0, 2)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Real and imaginary parts [B·W'·H, C] of the slots of a real map [B·W·H, C]."""
        channels = x.shape[-1]
        x = paddle.reshape(x, [-1, self.w1, self.w2 * self.height * channels])
        x = paddle.matmul(self.over_w1, x)  # [B, (k1, part), w2·H·C]
        x = paddle.reshape(x, [-1, self.half, 2 * self.w2, self.height * channels])
        x = paddle.matmul(self.over_w2, x)  # [B, k1, (k2, part), H·C]
        x = paddle.reshape(x, [-1, 2 * self.h1, self.h2 * channels])
        x = paddle.matmul(self.over_h1, x)  # [B·W', (k1, part), h2·C]
        x = paddle.reshape(x, [-1, self.h1, 2 * self.h2, channels])
        re, im = (paddle.matmul(table, x) for table in self.over_h2)  # [B·W', k1, k2, C]
        return paddle.reshape(re, [-1, channels]), paddle.reshape(im, [-1, channels])

    def inverse(self, re: paddle.Tensor, im: paddle.Tensor) -> paddle.Tensor:
        """The real map [B·W·H, C] of slots; of columns 0 and W/2 the Hermitian part is taken."""
        channels = re.shape[-1]
        x = paddle.concat([paddle.reshape(part, [-1, self.h1, self.h2, channels]) for part in (re, im)], axis=2)
        x = paddle.matmul(self.from_h2, x)  # [B·W', k1, (part, n2), C]
        x = paddle.reshape(x, [-1, 2 * self.h1, self.h2 * channels])
        x = paddle.matmul(self.from_h1, x)  # [B·W', (part, n1), n2·C]
        x = paddle.reshape(x, [-1, self.half, 2 * self.w2, self.height * channels])
        x = paddle.matmul(self.from_w2, x)  # [B, k1, (part, n2), H·C]
        x = paddle.reshape(x, [-1, 2 * self.half, self.w2 * self.height * channels])
        x = paddle.matmul(self.from_w1, x)  # [B, n1, n2·H·C]
        return paddle.reshape(x, [-1, channels])

    def natural(self, x: paddle.Tensor) -> paddle.Tensor:
        """Slots [B·W'·H, C] in the usual order, [B, W//2 + 1, H, C]."""
        channels = x.shape[-1]
        column = _range(self.width // 2 + 1)
        rest = column % self.w1
        column = paddle.where(rest * 2 > self.w1, self.width - column, column)
        column = (column % self.w1) * self.w2 + column // self.w1
        row = _range(self.height)
        row = (row % self.h1) * self.h2 + row // self.h1
        index = paddle.reshape(column[:, None] * self.height + row[None], [-1])
        x = paddle.gather(paddle.reshape(x, [-1, self.half * self.w2 * self.height, channels]), index, axis=1)
        return paddle.reshape(x, [-1, self.width // 2 + 1, self.height, channels])

    def slots(self, x: paddle.Tensor) -> paddle.Tensor:
        """The inverse of `natural`."""
        channels = x.shape[-1]
        columns = paddle.reshape(paddle.minimum(self.columns, self.width - self.columns), [-1, 1])
        index = paddle.reshape(columns * self.height + paddle.reshape(self.rows, [1, -1]), [-1])
        x = paddle.gather(paddle.reshape(x, [-1, (self.width // 2 + 1) * self.height, channels]), index, axis=1)
        return paddle.reshape(x, [-1, channels])


def amplitude_phase(re: paddle.Tensor, im: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    """√(re² + im²), and atan2(im, re) by an arctangent on [0, 1]; of either zero the phase is 0 or +π."""
    x, y = paddle.abs(re), paddle.abs(im)
    large, small = paddle.maximum(x, y), paddle.minimum(x, y)
    phase = paddle.atan(small / paddle.maximum(large, _constant(1e-37)))
    phase = paddle.where(x < y, math.pi / 2 - phase, phase)
    phase = paddle.where(re < 0, math.pi - phase, phase)
    return paddle.sqrt(re * re + im * im), paddle.where(im < 0, -phase, phase)


def _constant(value: float) -> paddle.Tensor:
    return paddle.full([1], value, "float32")


def _range(size: Size) -> paddle.Tensor:
    return paddle.arange(0, size, 1, dtype="int64")


def _table(shape: list[Size | int], parts: list[list[paddle.Tensor]], to: int, within: int) -> paddle.Tensor:
    """One matrix, or several, from parts (re, im) to parts: `parts[to][from]`, joined at an axis of each row and then of all.

    The batch's axis is there, as 1: where ranks differ, OpenVINO puts another product in the place of one.
    """
    rows = [paddle.stack(row, axis=within) for row in parts]
    return paddle.reshape(paddle.stack(rows, axis=to), [1, *shape])


def _factors(size: Size, ratio: int) -> tuple[Size, Size]:
    """n1·n2 = size with n1 + ratio·n2 smallest; (1, size) or (size, 1) for a prime."""
    divisor = paddle.arange(1, size + 1, 1, dtype="int64")
    cost = divisor + ratio * (size // divisor) + (size % divisor) * (8 * size)
    first = paddle.max(paddle.where(cost == paddle.min(cost), divisor, paddle.zeros_like(divisor)))
    return first, size // first


def _wave(product: paddle.Tensor, size: Size) -> tuple[paddle.Tensor, paddle.Tensor]:
    """cos and sin of 2π·product/size for integers, exact at quarters of a turn."""
    turn = 4 * size  # quarters of a step, so that a quarter of a turn is whole
    step = 4 * (product % size)
    return _cosine(step, size), _cosine((step - size + turn) % turn, size)


def _cosine(step: paddle.Tensor, size: Size) -> paddle.Tensor:
    """cos of 2π·step/(4·size), 0 <= step < 4·size, as the sine of an angle in [-π/2, π/2]."""
    rest = size - paddle.minimum(step, 4 * size - step)
    return paddle.sin(rest.astype("float32") * (math.pi / 2 / size.astype("float32")))
