"""The weights that a run starts from, where they are not random."""

from __future__ import annotations

import json

from torch import nn

from mri_recon.catalog import NETWORKS
from mri_recon.checkpoint import load_network, weights_file
from mri_recon.errors import WeightsError
from mri_recon.files import one_line
from mri_recon.settings import NetworkSettings
from mri_recon.training.config import TrainingConfig

_OF_USE = ("dropout", "trust", "gain")
"""Settings that weights do not have to be learned anew for."""


def begin_with(weights: str, network: nn.Module, config: TrainingConfig) -> None:
    """Give a network the weights of a file, or the shipped ones.

    Raises
    ------
    WeightsError
        There are none, or they are not of the shapes of the network's.
    """
    loaded, info = load_network(weights_file(weights, config.network.name))
    there, wanted = loaded.state_dict(), network.state_dict()
    shapes = [{key: tuple(value.shape) for key, value in of.items()} for of in (there, wanted)]
    if shapes[0] != shapes[1]:
        raise WeightsError(
            f"training.weights '{one_line(weights)}' does not fit the network to be trained, a "
            f"{config.network.name}: the weights are {_advice(info.settings, config.network)}"
        )
    network.load_state_dict(there)


def _advice(of_file: NetworkSettings, wanted: NetworkSettings) -> str:
    if of_file.name not in NETWORKS:
        return (
            f"those of a {of_file.name}, which can be used and not trained. Take weights that `mri-recon train` "
            "wrote."
        )
    what = (
        f"those of a {of_file.name}"
        if of_file.name != wanted.name
        else f"of a {of_file.name} with other settings"
    )
    return (
        f"{what} ({of_file.model_dump_json(exclude={'name'})}). Give [network] these settings, or use "
        "mri-recon train --weights, which takes them from the file."
    )


def settings_apart(config: TrainingConfig) -> str | None:
    """What the weights to start from were trained as, where the network is to be something else; else None.

    Shapes say nothing of it: with the same ones a network may be another function, and unlearn first.

    Raises
    ------
    WeightsError
        There are no such weights.
    """
    weights, wanted = config.training.weights, config.network
    if not weights:
        return None
    of_file = load_network(weights_file(weights, wanted.name))[1].settings
    if of_file.name != wanted.name:
        return None  # `begin_with` refuses them
    before, now = of_file.model_dump(mode="json"), wanted.model_dump(mode="json")
    apart = [key for key in now if key not in _OF_USE and before[key] != now[key]]
    if not apart:
        return None
    then, here = (", ".join(f"{key} = {json.dumps(of[key])}" for key in apart) for of in (before, now))
    return f"training.weights '{one_line(weights)}' were trained with {then}, and [network] has {here}"
