"""fastMRI's networks written straight from their definition, slowly and with nothing of ours but the tests' own.

Their names of layers, their two-number complex images, their transforms: what our networks are held against.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def double_conv(before, after):
    """The names are `layers.0.weight` and `layers.4.weight`; what lies between has none."""
    block = nn.Module()
    block.layers = nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.Identity(), nn.Identity(), nn.Identity(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
    )  # fmt: skip
    return block


def transposed_conv(before, after):
    block = nn.Module()
    block.layers = nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2, bias=False))
    return block


def instance_norm(x):
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5) ** 0.5


def active(x):
    x = instance_norm(x)
    return torch.where(x > 0, x, 0.2 * x)


class SlowUNet(nn.Module):
    def __init__(self, n_in, n_out, channels, levels):
        super().__init__()
        widths = [channels * 2**i for i in range(levels)]
        self.down_sample_layers = nn.ModuleList(
            double_conv(a, b) for a, b in zip([n_in, *widths[:-1]], widths, strict=True)
        )
        self.conv = double_conv(widths[-1], 2 * widths[-1])
        self.up_transpose_conv = nn.ModuleList(transposed_conv(2 * w, w) for w in widths[::-1])
        up = [double_conv(2 * w, w) for w in widths[::-1]]
        self.up_conv = nn.ModuleList([*up[:-1], nn.Sequential(up[-1], nn.Conv2d(channels, n_out, 1))])

    @staticmethod
    def _twice(block, x):
        return active(block.layers[4](active(block.layers[0](x))))

    def forward(self, x):
        skips = []
        for block in self.down_sample_layers:
            x = self._twice(block, x)
            skips.insert(0, x)
            h, w = x.shape[2] // 2, x.shape[3] // 2
            x = x[..., : 2 * h, : 2 * w].reshape(*x.shape[:2], h, 2, w, 2).mean(dim=(3, 5))
        x = self._twice(self.conv, x)
        for up, block, skip in zip(self.up_transpose_conv, self.up_conv, skips, strict=True):
            x = active(up.layers[0](x))
            if x.shape[2] < skip.shape[2]:
                x = torch.cat([x, x[:, :, -2:-1]], dim=2)
            if x.shape[3] < skip.shape[3]:
                x = torch.cat([x, x[..., -2:-1]], dim=3)
            x = torch.cat([x, skip], dim=1)
            x = (
                block[1](self._twice(block[0], x))
                if isinstance(block, nn.Sequential)
                else self._twice(block, x)
            )
        return x

    def reconstruct(self, kspace):
        """Zero-filled, one slice at a time."""
        images = []
        for slice_kspace in kspace:
            image = (ifft2(slice_kspace).abs() ** 2).sum(0) ** 0.5
            mean, std = image.mean(), image.std() + 1e-11
            x = torch.clamp((image - mean) / std, -6, 6)
            images.append(self(x[None, None])[0, 0] * std + mean)
        return torch.stack(images)


def ifft2(kspace):
    return torch.fft.fftshift(
        torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)
    )


def fft2(image):
    return torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(image, dim=(-2, -1)), norm="ortho"), dim=(-2, -1)
    )


def slow_center(columns):
    """Columns that fastMRI takes for the centre, as booleans."""
    n, middle = len(columns), len(columns) // 2

    def run(side):
        return side.index(False) if False in side else 0

    n_low = max(2 * min(run(columns[:middle][::-1]), run(columns[middle:])), 1)
    first = (n - n_low + 1) // 2
    return [first <= i < first + n_low for i in range(n)]


class NormUNet(nn.Module):
    def __init__(self, channels, levels):
        super().__init__()
        self.unet = SlowUNet(2, 2, channels, levels)

    def one(self, image):
        """One complex image `(h, w)`."""
        parts = [image.real, image.imag]
        stats = [(p.mean(), p.std()) for p in parts]
        x = torch.stack([(p - mean) / std for p, (mean, std) in zip(parts, stats, strict=True)])
        h, w = image.shape
        padded = [16 * -(-n // 16) - n for n in (h, w)]
        top, left = padded[0] // 2, padded[1] // 2
        x = self.unet(F.pad(x[None], (left, padded[1] - left, top, padded[0] - top)))[0]
        x = x[:, top : top + h, left : left + w]
        real, imag = (p * std + mean for p, (mean, std) in zip(x, stats, strict=True))
        return torch.complex(real, imag)


class SlowVarNet(nn.Module):
    def __init__(self, n_cascades, channels, levels, maps_channels, maps_levels):
        super().__init__()
        self.sens_net = nn.Module()
        self.sens_net.norm_unet = NormUNet(maps_channels, maps_levels)
        self.cascades = nn.ModuleList()
        for _ in range(n_cascades):
            cascade = nn.Module()
            cascade.dc_weight = nn.Parameter(torch.ones(1))
            cascade.model = NormUNet(channels, levels)
            self.cascades.append(cascade)

    def reconstruct(self, kspace, mask):
        """Zero-filled k-space, one slice at a time."""
        images = []
        for y, m in zip(kspace, mask, strict=True):
            center = torch.tensor(slow_center(m[0, 0].tolist()))
            maps = torch.stack([self.sens_net.norm_unet.one(image) for image in ifft2(y * center)])
            maps = maps / (maps.abs() ** 2).sum(0) ** 0.5
            k = y
            for cascade in self.cascades:
                image = (ifft2(k) * maps.conj()).sum(0)
                k = k - torch.where(m, k - y, 0) * cascade.dc_weight - fft2(cascade.model.one(image) * maps)
            images.append((ifft2(k).abs() ** 2).sum(0) ** 0.5)
        return torch.stack(images)
