"""Two ways to one receptive field, compared; and networks whose fields are hard."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from convsmith.measure.receptive import has_map, local_field, walked_field
from convsmith.network.forward import views

PLAIN = ("size", "stride", "padding", "status", "reason", "layer")


def same(a, b):
    return a.count() == b.count() == (a | b).count()


def unlike(net, every=1):
    """Layers whose field is not what a backward walk of its own gives; the oracle of this suite."""
    found = []
    for number, layer in enumerate(net):
        if layer.constant or number % every or not has_map(net, layer.name):
            continue
        ours, theirs = local_field(net, layer.name), walked_field(net, layer.name)
        if ours is None or theirs is None:
            if ours is not theirs:
                found.append((layer.name, ours, theirs))
            continue
        equal = all(getattr(ours, key) == getattr(theirs, key) for key in PLAIN)
        pairs = [(ours.region, theirs.region)]
        if equal and len(ours.phases) == len(theirs.phases):
            pairs += zip(ours.phases, theirs.phases)
        else:
            equal = False
        if not equal or not all(same(a, b) for a, b in pairs):
            found.append((layer.name, ours, theirs))
    return found


def left_out(net):
    """Maps that the forward pass cannot tell."""
    known = views(net)
    return [x.name for x in net if has_map(net, x.name) and (x.name, 0) not in known]


def conv(m, n, kernel=3, stride=1, **options):
    return nn.Conv2d(m, n, kernel, stride, options.pop("padding", kernel // 2), **options)


class Exchange(nn.Module):
    """HRNet: four resolutions side by side, each added to each."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = conv(3, width, 3, 2)
        self.down = nn.ModuleList(conv(width, width, 3, 2) for _ in range(3))
        self.body = nn.ModuleList(conv(width, width) for _ in range(4))
        self.fuse = nn.ModuleList(
            nn.Sequential(*[conv(width, width, 3, 2) for _ in range(max(0, j - i))])
            for i in range(4)
            for j in range(4)
        )

    def forward(self, x):
        maps = [self.stem(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        for _ in range(2):
            maps = [body(y) for body, y in zip(self.body, maps)]
            mixed = []
            for j in range(4):
                total = maps[j]
                for i in range(4):
                    y = self.fuse[4 * i + j](maps[i])
                    total = total + (F.interpolate(y, scale_factor=2 ** (i - j)) if i > j else y)
                mixed.append(F.relu(total))
            maps = mixed
        return maps


class Unet(nn.Module):
    """Down twice, up twice, the maps of equal resolution concatenated."""

    def __init__(self, up="transposed"):
        super().__init__()
        self.first, self.second, self.third = conv(1, 4), conv(4, 4), conv(4, 4)
        self.merge, self.last = conv(8, 4), conv(8, 2)
        self.up = {
            "transposed": lambda: nn.ConvTranspose2d(4, 4, 2, 2),
            "wide": lambda: nn.ConvTranspose2d(4, 4, 4, 2, 1),
            "nearest": lambda: nn.Upsample(scale_factor=2),
            "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
            "corners": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        }[up]()

    def forward(self, x):
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = self.third(F.max_pool2d(b, 2))
        d = self.merge(torch.cat([self.up(c), b], 1))
        return self.last(torch.cat([a, self.up(d)], 1))


class Pyramid(nn.Module):
    """FPN: a map of each stage, those of the later ones upsampled by size and added."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(conv(3 if not i else 4, 4, 3, 2) for i in range(4))
        self.sides = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(4))
        self.heads = nn.ModuleList(conv(4, 4) for _ in range(4))

    def forward(self, x):
        maps = []
        for stage in self.stages:
            maps.append(x := F.relu(stage(x)))
        top, found = None, []
        for side, head, y in reversed(list(zip(self.sides, self.heads, maps))):
            y = side(y)
            top = y if top is None else y + F.interpolate(top, size=y.shape[-2:])
            found.append(head(top))
        return found


class Squeeze(nn.Module):
    """Depthwise, squeeze-and-excite, a residual."""

    def __init__(self, width):
        super().__init__()
        self.deep = conv(width, width, 5, groups=width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.less, self.more = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)

    def forward(self, x):
        y = self.deep(x)
        return x + y * self.more(F.relu(self.less(self.pool(y)))).sigmoid()


class Spatial(nn.Module):
    """Pixel shuffle up, space to depth down, half the channels of each kept apart."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 16), nn.Conv2d(16, 8, 3, 2, 1, groups=2)

    def forward(self, x):
        y = F.pixel_shuffle(self.a(x), 2)
        y = torch.cat([y, F.interpolate(x, scale_factor=2)[:, :2]], 1)
        y = F.pixel_unshuffle(y, 2)[:, 3:19]
        return F.pixel_shuffle(self.b(y), 2)


class Atrous(nn.Module):
    """ASPP with its global branch, behind a stride of 4."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 4, 3, 2), conv(4, 4, 3, 2))
        self.one = nn.Conv2d(4, 4, 1)
        self.rates = nn.ModuleList(conv(4, 4, 3, padding=d, dilation=d) for d in (6, 12, 18))
        self.last = nn.Conv2d(20, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        whole = F.interpolate(self.one(x.mean((2, 3), keepdim=True)), size=x.shape[-2:])
        y = self.last(torch.cat([self.one(x), *(rate(x) for rate in self.rates), whole], 1))
        return F.interpolate(y, scale_factor=4, mode="bilinear")


class Shuffle(nn.Module):
    """ShuffleNet: half the channels pass by, all are then shuffled through five dimensions."""

    def __init__(self, groups=2):
        super().__init__()
        self.groups = groups
        self.deep = nn.ModuleList(conv(4, 4, 3, groups=4) for _ in range(3))

    def forward(self, x):
        for deep in self.deep:
            a, b = x.chunk(2, 1)
            x = torch.cat([a, deep(b)], 1)
            n, c, h, w = x.shape
            x = x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        return x


class Last(nn.Module):
    """ConvNeXt with its channels last, and a padding there as well."""

    def __init__(self):
        super().__init__()
        self.deep = conv(4, 4, 7, groups=4)
        self.norm, self.wide, self.slim = nn.LayerNorm(6), nn.Linear(6, 9), nn.Linear(9, 4)

    def forward(self, x):
        y = F.pad(self.deep(x).permute(0, 2, 3, 1), (1, 1, 0, 0, 2, 1))
        y = self.slim(F.gelu(self.wide(self.norm(y)))).permute(0, 3, 1, 2)
        return F.glu(torch.cat([x, x], 1), 1), y[:, 1:3]


class Widen(nn.Module):
    """The shortcut without parameters of He et al. 2016: every second pixel, channels padded."""

    def __init__(self):
        super().__init__()
        self.body, self.deep = conv(4, 8, 3, 2), conv(8, 8, 3, groups=4)

    def forward(self, x):
        y = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.deep(y), F.glu(torch.cat([y, self.body(x)], 1)[:, 2:14:3], 1)
