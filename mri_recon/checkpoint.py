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
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mri_recon import __version__
from mri_recon.catalog import FOREIGN_NETWORKS, look_up
from mri_recon.errors import SettingsError, WeightsError
from mri_recon.files import Sink, atomic_output
from mri_recon.settings import NetworkSettings, network_settings, validated

FORMAT = "mri-recon weights 1"
STATE_FORMAT = "mri-recon training state 1"
SHIPPED = "shipped"
_ADVICE = "Weights are .safetensors files that `mri-recon train` writes, or fastMRI's state dicts."


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
    tensors = {
        name: t.detach().to("cpu", dtype if t.is_floating_point() else t.dtype).contiguous()
        for name, t in network.state_dict().items()
    }
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

    Besides our own files, those of the networks in `mri_recon.catalog.FOREIGN_NETWORKS`, recognised by the names
    and shapes in them: safetensors, and pickled state dicts, in which nothing but tensors and plain values is read.

    Raises
    ------
    WeightsError
        No such file, or one that is neither, is damaged, or does not fit the network it names.
    """
    tensors, metadata = _read(path)
    foreign = None if "format" in metadata else _foreign_network(tensors)
    if foreign is not None:
        network, name = foreign
        info = WeightsInfo(NetworkSettings(name=name), version=name.partition("-")[0])
    elif path.name == "resume.pt":
        raise WeightsError(
            f"{path} is what `mri-recon train --resume` goes on from, not weights. Those are in best.safetensors "
            "beside it."
        )
    elif metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has no header of mri-recon's: expected format '{FORMAT}', got "
            f"'{metadata.get('format', 'none')}', nor are these weights of a network known from elsewhere "
            f"({', '.join(FOREIGN_NETWORKS)}). {_ADVICE}"
        )
    else:
        network, info = _described_network(path, metadata)
    _fill(network, tensors, f"{path} does not fit the network '{info.settings.name}' that it names")
    return network.to(device).eval().requires_grad_(False), info


def shipped_weights(method: str) -> Path:
    """File with the weights that come with mri-recon.

    Raises
    ------
    WeightsError
        This installation has none for the method.
    """
    path = Path(str(resources.files("mri_recon") / "weights" / f"{method}.safetensors"))
    if not path.is_file():
        raise WeightsError(
            f"This installation comes without weights for '{method}': {path} is missing. Train a network with "
            f"`mri-recon train configs/{method}.toml`, and name its best.safetensors by --weights."
        )
    return path


def weights_file(weights: str, method: str) -> Path:
    """A file of weights; of "shipped", those that come with mri-recon for a method."""
    return shipped_weights(method) if weights == SHIPPED else Path(weights)


def _described_network(path: Path, metadata: Mapping[str, str]) -> tuple[nn.Module, WeightsInfo]:
    """The network that a header describes, on the meta device: no memory is taken before the shapes fit."""
    try:
        name = metadata["network"]
        values = {**json.loads(metadata["settings"]), "name": name}
        settings = validated(network_settings(name), values, "network settings")
        config, metrics = json.loads(metadata["config"]), json.loads(metadata["metrics"])
    except SettingsError as error:
        raise WeightsError(f"{path}: {error} The file may need a newer mri-recon.") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} has a damaged header ({error}). {_ADVICE}") from error
    with torch.device("meta"):
        network: nn.Module = settings.build()
    return network, WeightsInfo(settings, config, metrics, metadata.get("mri_recon_version", "unknown"))


def _foreign_network(tensors: Mapping[str, Tensor]) -> tuple[nn.Module, str] | None:
    """The network of others that the weights are for, on the meta device, and its name; None if there is none."""
    for name in FOREIGN_NETWORKS:
        with torch.device("meta"):
            network = look_up("network", FOREIGN_NETWORKS, name).of_weights(tensors)
        if network is not None:
            return network, name
    return None


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Give a network on the meta device its weights."""
    there = network.state_dict()
    wrong = [f"'{key}' is missing" for key in there if key not in tensors]
    wrong += [f"'{key}' is not part of it" for key in tensors if key not in there]
    wrong += [
        f"'{key}' is {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
        for key, value in there.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    wrong += [f"'{key}' holds NaN or Inf" for key, value in tensors.items() if not value.isfinite().all()]
    if wrong:
        raise WeightsError(f"{what}: {wrong[0]}. {_ADVICE}")
    network.load_state_dict({key: value.to(there[key].dtype) for key, value in tensors.items()}, assign=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no weights file {path}. {_ADVICE}") from error
    except IsADirectoryError as error:
        best = path / "best.safetensors"
        there = f"Its weights are in {best}." if best.is_file() else _ADVICE
        raise WeightsError(f"{path} is a folder, and no weights file. {there}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read as weights: {error.strerror}. {_ADVICE}") from error
    # Safetensors begins with the length of its header, whose first byte may be a pickle's; then comes the header.
    if start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{":
        return _state_dict(_unpickled(path, f"{path} cannot be used as weights", _ADVICE)), {}
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a sound safetensors file: cut short, damaged or something else ({error}). {_ADVICE}"
        ) from error


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Tensors by name, of a state dict or of a checkpoint that holds one; of a wrapped network, its own alone."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in ("unet.", "varnet."):
        inner = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        if inner:
            return inner
    return tensors


def _unpickled(path: Path, what: str, advice: str) -> Any:
    """Content of a file that torch saved: tensors, plain values and containers of them, and nothing that runs."""
    try:
        # By an open file: given a name, torch goes by its ending.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has to say of foreign files, the error below says
            return torch.load(file, map_location="cpu", weights_only=True)
    except (
        OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
        pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip  # what a damaged or hostile file makes torch raise
        reason = "it is damaged"
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds more than tensors and plain values, and could run code"
        raise WeightsError(f"{what} ({reason}). {advice}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a training run needs to go on: tensors, numbers, strings, and containers of them."""
    with atomic_output(path, overwrite=True) as temporary, Sink(temporary, "wb") as sink:
        torch.save({**state, "format": STATE_FORMAT}, sink)
        sink.check(path)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, running nothing in it.

    Raises
    ------
    WeightsError
        No such file, or not one of ours.
    """
    advice = "Give the run folder that `mri-recon train` wrote, or start again with --overwrite."
    if not path.exists():
        raise WeightsError(
            f"There is no checkpoint {path} to resume from. Give the run folder that `mri-recon train` wrote, or "
            "leave --resume out to start a run."
        )
    state = _unpickled(path, f"{path} is not a checkpoint that can be resumed", advice)
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise WeightsError(f"{path} is not a checkpoint of this mri-recon. {advice}")
    del state["format"]
    return state
