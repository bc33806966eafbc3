"""The peer: fastMRI's U-Net and the steps of its data pipeline, written anew in plain PyTorch.

Architecture and recipe as published (Zbontar et al. 2018, arXiv:1811.08839): instance normalisation without gain,
leaky ReLU, dropout at rate zero, RMSprop at 1e-3, L1 on images normalised by the zero-filled input, clamped to ±6.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


def block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (before, after):
        layers += [nn.Conv2d(n, after, 3, padding=1, bias=False), nn.InstanceNorm2d(after)]
        layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.0)]
    return nn.Sequential(*layers)


def up(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, 2, stride=2, bias=False),
        nn.InstanceNorm2d(after),
        nn.LeakyReLU(0.2, inplace=True),
    )


class PlainUNet(nn.Module):
    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([1, *widths], widths[:-1], strict=False))
        self.bottom = block(widths[-2], widths[-1])
        self.up = nn.ModuleList(up(w, w // 2) for w in reversed(widths[1:]))
        self.merge = nn.ModuleList(block(w, w // 2) for w in reversed(widths[1:]))
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = nn.functional.avg_pool2d(x, 2)
        x = self.bottom(x)
        for rise, merge in zip(self.up, self.merge, strict=True):
            x, skip = rise(x), skips.pop()
            x = nn.functional.pad(
                x, (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2]), mode="reflect"
            )
            x = merge(torch.cat([x, skip], dim=1))
        return self.last(x)


class PlainSlices(Dataset[tuple[Tensor, Tensor]]):
    """Read a slice, mask it at random, transform, crop, take the magnitude, normalise."""

    def __init__(self, paths: list[Path], acceleration: float, center_fraction: float) -> None:
        self.acceleration, self.center_fraction = acceleration, center_fraction
        self.slices = []
        for path in paths:
            with h5py.File(path, "r") as file:
                self.slices += [(path, i) for i in range(file["kspace"].shape[0])]
        self.rng = np.random.RandomState()

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path, i = self.slices[index]
        with h5py.File(path, "r") as file:
            kspace = file["kspace"][i]
            target = torch.from_numpy(file["reconstruction_esc"][i])
        kspace = torch.view_as_real(torch.from_numpy(kspace))
        width = kspace.shape[-2]
        n_center = round(width * self.center_fraction)
        probability = (width / self.acceleration - n_center) / (width - n_center)
        columns = self.rng.uniform(size=width) < probability
        start = (width - n_center + 1) // 2
        columns[start : start + n_center] = True
        kspace = kspace * torch.from_numpy(columns.astype(np.float32))[None, :, None] + 0.0
        image = torch.fft.ifftshift(torch.view_as_complex(kspace), dim=(-2, -1))
        image = torch.fft.fftshift(torch.fft.ifftn(image, dim=(-2, -1), norm="ortho"), dim=(-2, -1))
        top, left = ((a - b) // 2 for a, b in zip(image.shape, target.shape, strict=True))
        image = image[top : top + target.shape[0], left : left + target.shape[1]]
        x = torch.view_as_real(image).square().sum(dim=-1).sqrt()
        mean, std = x.mean(), x.std()
        x = ((x - mean) / (std + 1e-11)).clamp(-6, 6)
        return x[None], ((target - mean) / (std + 1e-11)).clamp(-6, 6)[None]


def plain_steps(
    paths: list[Path], *, channels: int, levels: int, batch_size: int, workers: int, device: torch.device
) -> Iterator[float]:
    """Losses of one step after the other, for as long as they are asked for."""
    slices = PlainSlices(paths, 4.0, 0.08)
    network = PlainUNet(channels, levels).to(device)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3)
    loader = DataLoader(
        slices, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    while True:
        for x, target in loader:
            loss = nn.functional.l1_loss(network(x.to(device)), target.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()
