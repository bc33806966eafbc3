"""Network weights on disk, as safetensors: nothing in such a file can run.

The header holds what is needed to build the network again and to know where it came from. State for
resuming a training run is a second kind of file, written by `save_state` with torch and read with
``weights_only``, which refuses everything but tensors and plain values.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mri_recon import __version__
from mri_recon.errors import SettingsError, WeightsError
from mri_recon.files import atomic_output
from mri_recon.settings import NetworkSettings, network_settings, validated

FORMAT = "mri-recon weights 1"
STATE_FORMAT = "mri-recon training state 1"
_ADVICE = "Weights are .safetensors files that `mri-recon train` writes."


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself.

    Parameters
    ----------
    settings
        The network's name and constructor arguments.
    config
        The training configuration, table by table.
    metrics
        Validation scores when the weights were saved.
    version
        The mri-recon that wrote the file.
    """

    settings: NetworkSettings
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__


def save_weights(
    path: Path, network: nn.Module, info: WeightsInfo, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write a network's weights and what is known of them, replacing an earlier file in one step.

    Parameters
    ----------
    dtype
        Type on disk; `load_network` makes float32 of any.
    """
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "network": info.settings.name,
        "settings": info.settings.model_dump_json(exclude={"name"}),
        "config": json.dumps(dict(info.config)),
        "metrics": json.dumps(dict(info.metrics)),
        "mri_recon_version": info.version,
    }
    with atomic_output(path, overwrite=True) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_network(path: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, WeightsInfo]:
    """Build the network a weights file describes, with its weights, ready for use.

    Raises
    ------
    WeightsError
        No such file, or one that is not ours, is damaged, or does not fit the network it names.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has no header of mri-recon's: expected format '{FORMAT}', got "
            f"'{metadata.get('format', 'none')}'. {_ADVICE}"
        )
    try:
        name = metadata["network"]
        values = {**json.loads(metadata["settings"]), "name": name}
        settings = validated(network_settings(name), values, "network settings")
        config, metrics = json.loads(metadata["config"]), json.loads(metadata["metrics"])
    except SettingsError as error:
        raise WeightsError(f"{path}: {error} The file may need a newer mri-recon.") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} has a damaged header ({error}). {_ADVICE}") from error
    with torch.device("meta"):  # no memory is taken before the shapes are known to fit
        network: nn.Module = settings.build()
    wrong = [f"'{key}' is missing" for key in network.state_dict() if key not in tensors]
    wrong += [f"'{key}' is not part of it" for key in tensors if key not in network.state_dict()]
    wrong += [
        f"'{key}' is {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
        for key, value in network.state_dict().items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    wrong += [f"'{key}' holds NaN or Inf" for key, value in tensors.items() if not value.isfinite().all()]
    if wrong:
        raise WeightsError(f"{path} does not fit the network '{name}' that it names: {wrong[0]}. {_ADVICE}")
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    info = WeightsInfo(settings, config, metrics, metadata.get("mri_recon_version", "unknown"))
    return network.to(device).eval().requires_grad_(False), info


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no weights file {path}. {_ADVICE}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read as weights: {error.strerror}. {_ADVICE}") from error
    # Safetensors begins with the length of its header, whose first byte may be a pickle's; then comes the header.
    if start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{":
        raise WeightsError(f"{path} is a pickle, which could run code and is not opened. {_ADVICE}")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a sound safetensors file ({error}). {_ADVICE}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a training run needs to go on: tensors, numbers, strings, and containers of them."""
    with atomic_output(path, overwrite=True) as temporary:
        torch.save({**state, "format": STATE_FORMAT}, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, running nothing in it.

    Raises
    ------
    WeightsError
        No such file, or not one of ours.
    """
    advice = "Give the run folder that `mri-recon train` wrote, or start again with --overwrite."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has to say of foreign files, the error below says
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no checkpoint {path} to resume from. {advice}") from error
    except (
        OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
        pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip  # what a damaged or hostile file makes torch raise
        reason = "it is damaged"
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds more than tensors and plain values, and could run code"
        raise WeightsError(f"{path} is not a checkpoint that can be resumed ({reason}). {advice}") from error
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise WeightsError(f"{path} is not a checkpoint of this mri-recon. {advice}")
    del state["format"]
    return state
