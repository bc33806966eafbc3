"""torch.compile, where the machine has what it needs."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch
from torch import nn

from mri_recon.errors import SettingsError
from mri_recon.networks.unet import UNetCore


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Compile the convolutional parts of a network in place; the transforms between them are complex, and stay.

    Raises
    ------
    SettingsError
        There is no C++ compiler (on a CPU) or Triton (on a GPU) to compile with.
    """
    compilers = [os.environ.get("CXX") or "", "g++", "clang++", "cl"]
    if device.type == "cuda":
        there, missing = importlib.util.find_spec("triton") is not None, "Triton"
    else:
        there, missing = any(name and shutil.which(name) for name in compilers), "a C++ compiler"
    if not there:
        raise SettingsError(
            f"training.compile needs {missing}, and there is none here. Install it, or set compile = false."
        )
    for module in network.modules():
        if isinstance(module, UNetCore):
            # A graph a shape: with shapes left open the compiler gives up on channels-last strides.
            module.compile(dynamic=False)
