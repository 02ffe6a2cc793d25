"""UHDFour in plain torch, from the description of its layers, with the canonical Fourier phase; nothing of ours.

Parameter names are those of the released checkpoints. Of the self-conjugate bins the imaginary part is
set to +0 before the phase is taken; torch's irfft2 on a CPU ignores what is not Hermitian in columns 0
and W/2.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class HIN(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.identity = nn.Conv2d(c, c, 1)
        self.conv_1 = nn.Conv2d(c, c, 3, padding=1)
        self.conv_2 = nn.Conv2d(c, c, 3, padding=1)
        self.norm = nn.InstanceNorm2d(c // 2, affine=True)

    def forward(self, x):
        first, second = self.conv_1(x).chunk(2, 1)
        y = F.leaky_relu(torch.cat([self.norm(first), second], 1), 0.1)
        return F.leaky_relu(self.conv_2(y), 0.1) + self.identity(x)


class Coupling(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.F, self.G, self.H = HIN(c // 2), HIN(c // 2), HIN(c // 2)

    def forward(self, x):
        x1, x2 = x.chunk(2, 1)
        y1 = x1 + self.F(x2)
        s = 0.8 * (torch.sigmoid(self.H(y1)) * 2 - 1)
        return torch.cat([y1, x2 * s.exp() + self.G(y1)], 1)


class Spatial(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block = Coupling(c)

    def forward(self, x):
        return x + self.block(x)


def pointwise(c):
    return nn.Sequential(nn.Conv2d(c, c, 1), nn.LeakyReLU(0.1), nn.Conv2d(c, c, 1))


class SFT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.convmul = nn.Conv2d(c, c, 3, padding=1)
        self.convadd = nn.Conv2d(c, c, 3, padding=1)
        self.convfuse = nn.Conv2d(2 * c, c, 1)

    def forward(self, x, guide):
        return self.convfuse(torch.cat([x, self.convmul(guide) * x + self.convadd(guide)], 1))


def polar(x):
    """Amplitude and canonical phase of rfft2."""
    spectrum = torch.fft.rfft2(x)
    height, width = x.shape[-2:]
    real = torch.zeros(spectrum.shape[-2:], dtype=torch.bool)
    for row in {0, height / 2}:
        for column in {0, width / 2}:
            if row == int(row) and column == int(column):
                real[int(row), int(column)] = True
    spectrum = torch.complex(spectrum.real, spectrum.imag.masked_fill(real, 0.0))
    return spectrum.abs(), spectrum.angle()


class Frequency(nn.Module):
    def __init__(self, c, guided):
        super().__init__()
        self.processmag, self.processpha = pointwise(c), pointwise(c)
        if guided:
            self.sft, self.cat = SFT(c), nn.Conv2d(2 * c, c, 1)

    def forward(self, x, guides):
        amplitude, phase = polar(x)
        amplitude, phase = self.processmag(amplitude), self.processpha(phase)
        if guides:
            amplitude = self.sft(amplitude, guides[0])
            phase = self.cat(torch.cat([guides[1], phase], 1))
        changed = torch.complex(amplitude * phase.cos(), amplitude * phase.sin())
        return torch.fft.irfft2(changed, s=x.shape[-2:])


class FouSpa(nn.Module):
    def __init__(self, c, guided=False):
        super().__init__()
        self.spatial_process = Spatial(c)
        self.frequency_process = Frequency(c, guided)
        self.cat = nn.Conv2d(2 * c, c, 1)

    def forward(self, x, guides=None):
        return self.cat(torch.cat([self.spatial_process(x), self.frequency_process(x, guides)], 1)) + x


class Low(nn.Module):
    def __init__(self, c, widths, out):
        super().__init__()
        a, b, d = widths
        self.conv0, self.downsample1, self.downsample2 = (
            nn.Conv2d(c, a, 1),
            nn.Conv2d(a, b, 2, 2),
            nn.Conv2d(b, d, 2, 2),
        )
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = map(FouSpa, (a, b, d, b, a))
        self.up1, self.up2 = nn.ConvTranspose2d(d + b, b, 1), nn.ConvTranspose2d(b + a, a, 1)
        self.convout, self.convoutfinal = nn.Conv2d(a, out, 1), nn.Conv2d(out, 3, 1)
        self.transamp, self.transpha = nn.Conv2d(out, out, 1), nn.Conv2d(out, out, 1)

    def forward(self, x):
        s0 = self.conv1(self.conv0(x))
        s1 = self.conv2(self.downsample1(s0))
        z = self.conv3(self.downsample2(s1))
        for skip, up, block in ((s1, self.up1, self.conv4), (s0, self.up2, self.conv5)):
            z = block(up(torch.cat([F.interpolate(z, skip.shape[-2:], mode="bilinear"), skip], 1)))
        z = self.convout(z)
        amplitude, phase = polar(z)
        return self.convoutfinal(z), self.transamp(amplitude), self.transpha(phase)


class High(nn.Module):
    def __init__(self, scale, fusion):
        super().__init__()
        c = 3 * scale**2
        self.scale = scale
        self.conv1, self.conv3, self.conv4 = FouSpa(c, guided=True), FouSpa(c), FouSpa(c)
        self.convout, self.trans = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(6, fusion, 1)
        self.con_temp1 = nn.Conv2d(fusion, fusion, 3, padding=1)
        self.con_temp2 = nn.Conv2d(fusion, fusion, 3, padding=1)
        self.con_temp3 = nn.Conv2d(fusion, 3, 3, padding=1)

    def forward(self, x, y_low, guides):
        z = self.conv4(self.conv3(self.conv1(F.pixel_unshuffle(x, self.scale), guides)))
        z = self.convout(F.pixel_shuffle(z, self.scale))
        up = F.interpolate(y_low, scale_factor=self.scale, mode="bilinear")
        return self.con_temp3(self.con_temp2(self.con_temp1(self.trans(torch.cat([up, z], 1)))))


class UHDFour(nn.Module):
    """The LOL network (of any widths): it runs every kind of layer the other one has, and two blocks more."""

    def __init__(self, *, scale, extract, widths, fusion):
        super().__init__()
        self.scale = scale
        self.extract = nn.Conv2d(3, extract, 1)
        self.lownet = Low(extract, widths, 3 * scale**2)
        self.highnet = High(scale, fusion)

    def forward(self, x):
        low = F.interpolate(self.extract(x), scale_factor=1 / self.scale, mode="bilinear")
        y_low, amplitude, phase = self.lownet(low)
        return {"y": self.highnet(x, y_low, (amplitude, phase)), "y_low": y_low, "A_r": amplitude, "P_r": phase}


def fill(model: nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Norm scales 1 + 0.1 z, vectors 0.05 z, others z / sqrt(fan-in); z standard normal in the order of the names."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        z = rng.standard_normal(tuple(tensor.shape))
        vector = 1 + 0.1 * z if name.endswith("norm.weight") else 0.05 * z
        value = z / np.sqrt(z[0].size) if tensor.ndim > 1 else vector
        tensor.copy_(torch.from_numpy(value.astype(np.float32)))
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
