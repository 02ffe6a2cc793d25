"""SRCNN, FSRCNN, VDSR and SRGAN's two networks in plain torch, from their papers; nothing of ours.

Arrays go out in the layouts of the authors' MATLAB files; SRGAN's, of which there are none, under plain names.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def replicated(x, by):
    return F.pad(x, [by] * 4, mode="replicate")


class SRCNN(nn.Module):
    def __init__(self, sizes, widths):
        super().__init__()
        channels = (1, *widths, 1)
        self.convs = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], size) for i, size in enumerate(sizes))

    def forward(self, x, border="valid"):
        """The image: inside the input (valid), or of its size, with zeros or a repeated edge beyond it."""
        for i, conv in enumerate(self.convs):
            reach = conv.kernel_size[0] // 2
            if border != "valid":
                x = replicated(x, reach) if border == "replicate" else F.pad(x, [reach] * 4)
            x = conv(x)
            x = F.relu(x) if i < 2 else x
        return x


class FSRCNN(nn.Module):
    """One slope a layer; the edge is repeated everywhere."""

    def __init__(self, d, s, m):
        super().__init__()
        sizes = [(1, d, 5), (d, s, 1), *[(s, s, 3)] * m, (s, d, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        self.slopes = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in sizes)
        self.last = nn.ConvTranspose2d(d, 1, 9)

    def forward(self, x, scale):
        """What the convolutions give after their PReLU, and the image."""
        found = []
        for conv, slope in zip(self.convs, self.slopes, strict=True):
            x = F.prelu(conv(replicated(x, conv.kernel_size[0] // 2)), slope)
            found.append(x)
        height, width = (length * scale for length in x.shape[2:])
        y = F.conv_transpose2d(replicated(x, 1), self.last.weight, self.last.bias, stride=scale)
        at = scale + 4 - (scale == 3)  # the repeated pixel, half a kernel; the kernel stands one further on at x3
        return [*found, y[:, :, at : at + height, at : at + width]]


class VDSR(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        channels = [1, *[width] * (depth - 1), 1]
        self.convs = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 3, padding=1) for i in range(depth))

    def forward(self, x):
        """The features before their ReLU, and the image."""
        found, y = [], x
        for conv in self.convs[:-1]:
            found.append(conv(y))
            y = F.relu(found[-1])
        return [*found, x + self.convs[-1](y)]


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.norm2(self.conv2(F.prelu(self.norm1(self.conv1(x)), self.slope)))


class Generator(nn.Module):
    def __init__(self, doublings, width, blocks):
        super().__init__()
        self.entry, self.entry_slope = nn.Conv2d(3, width, 9, padding=4), nn.Parameter(torch.zeros(1))
        self.residual = nn.ModuleList(Block(width) for _ in range(blocks))
        self.fuse, self.fuse_norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.doublings = nn.ModuleList(nn.Conv2d(width, 4 * width, 3, padding=1) for _ in range(doublings))
        self.doubling_slopes = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(doublings))
        self.exit = nn.Conv2d(width, 3, 9, padding=4)

    def forward(self, x):
        first = y = F.prelu(self.entry(x), self.entry_slope)
        for block in self.residual:
            y = block(y)
        y = first + self.fuse_norm(self.fuse(y))
        for conv, slope in zip(self.doublings, self.doubling_slopes, strict=True):
            y = F.prelu(F.pixel_shuffle(conv(y), 2), slope)
        return self.exit(y)


class Discriminator(nn.Module):
    def __init__(self, width, size, hidden):
        super().__init__()
        widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
        inputs = [3, *widths[:-1]]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs[i], widths[i], 3, padding=1, stride=1 + i % 2, bias=i == 0) for i in range(8)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.hidden, self.logit = nn.Linear(8 * width * (size // 16) ** 2, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        x = F.leaky_relu(self.convs[0](x), 0.2)
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        return self.logit(F.leaky_relu(self.hidden(x.flatten(1)), 0.2))


def fill(model, seed):
    """Weights sqrt(2) z / sqrt(inputs), biases 0.05 z, slopes 0.2 + 0.1 z, norms' weights 1 + 0.1 z, their means 0.1 z and variances exp(0.2 z); z standard normal, layer by layer in the order of use, slopes last."""
    rng = np.random.default_rng(seed)

    def put(tensor, values):
        tensor.copy_(torch.from_numpy(np.asarray(values)))

    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            size = layer.num_features
            put(layer.weight, 1 + 0.1 * rng.standard_normal(size))
            put(layer.bias, 0.05 * rng.standard_normal(size))
            put(layer.running_mean, 0.1 * rng.standard_normal(size))
            put(layer.running_var, np.exp(0.2 * rng.standard_normal(size)))
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            shape = tuple(layer.weight.shape)
            inputs = shape[0] if isinstance(layer, nn.ConvTranspose2d) else np.prod(shape[1:])
            put(layer.weight, rng.standard_normal(shape) * np.sqrt(2 / inputs))
            if layer.bias is not None:
                put(layer.bias, 0.05 * rng.standard_normal(layer.bias.shape))
    for name, parameter in model.named_parameters():
        if "slope" in name:
            put(parameter, 0.2 + 0.1 * rng.standard_normal(1))


def columns(a):
    """[..., k, k] -> [..., k k], column by column as MATLAB counts."""
    return a.swapaxes(-1, -2).reshape(*a.shape[:-2], -1)


def value(parameter):
    return parameter


def numpy(tensor):
    return tensor.detach().numpy().copy()


def srcnn_arrays(model, read=value):
    """The authors' (k k, out), (in, k k, out), (in, k k), biases (out, 1)."""
    first, second, third = (numpy(read(conv.weight)) for conv in model.convs)
    found = {
        "weights_conv1": columns(first[:, 0]).T,
        "weights_conv2": columns(second).transpose(1, 2, 0),
        "weights_conv3": columns(third[0]),
    }
    return found | {f"biases_conv{i}": numpy(read(c.bias))[:, None] for i, c in enumerate(model.convs, 1)}


def fsrcnn_arrays(model, read=value):
    """The authors' (in, k k, out), the last (1, 81, d); biases (out, 1), slopes (1, 1)."""
    found = {}
    for i, layer in enumerate([*model.convs, model.last], 1):
        found[f"weights_conv/{i}"] = columns(numpy(read(layer.weight))).transpose(1, 2, 0)
        found[f"biases_conv/{i}"] = numpy(read(layer.bias))[:, None]
    return found | {f"prelu_conv/{i}": numpy(read(slope))[:, None] for i, slope in enumerate(model.slopes, 1)}


def vdsr_arrays(model, read=value):
    """The authors' (height, width, in, out), biases (out, 1)."""
    found = {}
    for i, conv in enumerate(model.convs, 1):
        found[f"weight/{i}"] = numpy(read(conv.weight)).transpose(2, 3, 1, 0)
        found[f"bias/{i}"] = numpy(read(conv.bias))[:, None]
    return found


def srgan_arrays(model, read=value, running=True):
    """Both networks' by plain names; a linear weight is (in, out)."""
    found = {}

    def layer(name, module):
        weight = numpy(read(module.weight))
        found[f"{name}.weight"] = weight.T if isinstance(module, nn.Linear) else weight
        if module.bias is not None:
            found[f"{name}.bias"] = numpy(read(module.bias))
        if running and isinstance(module, nn.BatchNorm2d):
            found[f"{name}._mean"], found[f"{name}._variance"] = numpy(module.running_mean), numpy(module.running_var)

    def slope(name, parameter):
        found[f"{name}._weight"] = numpy(read(parameter))

    g, d = model.generator, model.discriminator
    layer("generator.entry", g.entry)
    slope("generator.entry_slope", g.entry_slope)
    for i, block in enumerate(g.residual):
        for part in ("conv1", "norm1", "conv2", "norm2"):
            layer(f"generator.residual.{i}.{part}", getattr(block, part))
        slope(f"generator.residual.{i}.slope", block.slope)
    layer("generator.fuse", g.fuse)
    layer("generator.fuse_norm", g.fuse_norm)
    for i, conv in enumerate(g.doublings):
        layer(f"generator.doublings.{i}.conv", conv)
        slope(f"generator.doublings.{i}.slope", g.doubling_slopes[i])
    layer("generator.exit", g.exit)
    layer("discriminator.features.0", d.convs[0])
    for i, (conv, norm) in enumerate(zip(d.convs[1:], d.norms, strict=True)):
        layer(f"discriminator.features.{2 + 3 * i}", conv)
        layer(f"discriminator.features.{3 + 3 * i}", norm)
    layer("discriminator.classifier.0", d.hidden)
    layer("discriminator.classifier.2", d.logit)
    return found


def squared(y, target):
    """Half the sum of an image's squared differences, the mean over the images; where y is smaller, to the middle of the target."""
    off = (target.shape[2] - y.shape[2]) // 2
    target = target[:, :, off : off + y.shape[2], off : off + y.shape[3]]
    return 0.5 * ((y - target) ** 2).sum() / len(y)


class Opponents(nn.Module):
    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


def opposed(model, x, target):
    """The generator's mean squared error - 0.001 mean log D of its images, which moves the generator alone, and the discriminator's -log D of real and -log (1 - D) of these images, which moves the discriminator alone."""
    made = model.generator(x)
    frozen = {name: p.detach() for name, p in model.discriminator.named_parameters()}
    looks = torch.func.functional_call(model.discriminator, frozen, (made,))
    first = F.mse_loss(made, target) + 1e-3 * F.softplus(-looks).mean()
    real, fake = model.discriminator(target), model.discriminator(made.detach())
    return first + F.softplus(-real).mean() + F.softplus(fake).mean()
