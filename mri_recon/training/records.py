"""What a run shows of itself while it goes on: a curve, a picture an epoch, and TensorBoard's log if asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import SettingsError
from mri_recon.files import atomic_output, make_folder
from mri_recon.metrics import Metrics
from mri_recon.training.run_folder import RunFolder
from mri_recon.training.validation import Example

SHOWN = ("zero-filled", "network", "target", "|error| x 5")
"""What `side_by_side` shows, from left to right."""

_CAPTION, _SMALLEST = 18, 192  # pixels
_SECONDS_BETWEEN_CURVES = 10.0  # drawing takes a fraction of one, which epochs of a second would feel


class Records:
    """Pictures and logs of a run.

    Parameters
    ----------
    history
        The run's rows, one an epoch; looked at again whenever something is drawn.
    zero_filled
        The score to beat.
    on
        False in all processes but the first: nothing is written.
    tensorboard
        Log for TensorBoard too.

    Raises
    ------
    SettingsError
        TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        folder: RunFolder,
        history: Sequence[Mapping[str, float]],
        zero_filled: Metrics,
        *,
        on: bool,
        tensorboard: bool,
    ) -> None:
        self.folder, self.history, self.zero_filled, self.on = folder, history, zero_filled, on
        self.drawn_at, self.n_drawn = -_SECONDS_BETWEEN_CURVES, len(history)
        self.n_steps = 0
        self.log = _tensorboard(folder) if on and tensorboard else None

    def step(self, step: int, loss: float, lr: float) -> None:
        """After a step."""
        self.n_steps = step
        if self.log is not None:
            self.log.add_scalar("loss", loss, step)
            self.log.add_scalar("lr", lr, step)

    def epoch(self, example: Example | None) -> None:
        """After an epoch's validation, its row being in the history."""
        if not self.on:
            return
        row = self.history[-1]
        if example is not None:
            picture = side_by_side(example)
            make_folder(self.folder.samples)
            write_picture(self.folder.samples / f"epoch_{int(row['epoch']):04}.png", captioned(picture))
            if self.log is not None:
                self.log.add_image(", ".join(SHOWN), picture, self.n_steps, dataformats="HW")
        if self.log is not None:
            for name in ("psnr", "ssim", "nmse"):
                self.log.add_scalar(f"validation/{name}", row[name], self.n_steps)
        if time.monotonic() - self.drawn_at > _SECONDS_BETWEEN_CURVES:
            self._curve()

    def close(self) -> None:
        """At the end of the run, however it ends."""
        if self.on and self.n_drawn < len(self.history):
            self._curve()
        if self.log is not None:
            self.log.close()

    def _curve(self) -> None:
        with atomic_output(self.folder.curve, overwrite=True) as temporary:
            figure = curve(self.history, self.zero_filled)
            figure.savefig(temporary, format="png", dpi=100)
        self.drawn_at, self.n_drawn = time.monotonic(), len(self.history)


def _tensorboard(folder: RunFolder) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "output.tensorboard needs TensorBoard: pip install 'mri-recon[tensorboard]', or set it to false."
        ) from error
    return SummaryWriter(str(make_folder(folder.tensorboard)))


def curve(history: Sequence[Mapping[str, float]], zero_filled: Metrics) -> Any:
    """Figure of the loss, and of validation PSNR and SSIM beside those of zero-filled, over the epochs."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 3))
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.17, top=0.96, wspace=0.28)
    axes[0].plot(epochs, [row["loss"] for row in history], ".-")
    axes[0].set(xlabel="epoch", ylabel="training loss")
    for ax, name, label in ((axes[1], "psnr", "PSNR (dB)"), (axes[2], "ssim", "SSIM")):
        ax.plot(epochs, [row[name] for row in history], ".-", label="network")
        ax.axhline(getattr(zero_filled, name), color="gray", ls="--", label="zero-filled")
        ax.set(xlabel="epoch", ylabel=f"validation {label}")
        ax.legend()
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)  # there is no epoch 1.5
    return figure


def side_by_side(example: Example) -> NDArray[np.uint8]:
    """Zero-filled, the network's image, the target, and five times the network's error, on the target's scale."""
    shown = (example.zero_filled, example.image, example.target, 5 * np.abs(example.image - example.target))
    scale = 255 / (float(example.target.max()) or 1.0)
    # What has become no number is black: the step that finds it out, and stops the run, is yet to come.
    return np.hstack([np.clip(np.nan_to_num(image * scale), 0, 255).astype(np.uint8) for image in shown])


def captioned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of `side_by_side` with names above; a small one is enlarged by whole pixels."""
    from PIL import Image, ImageDraw, ImageFont

    factor = max(1, -(-_SMALLEST // picture.shape[0]))
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    width = picture.shape[1] // len(SHOWN)
    font = ImageFont.load_default(size=13)
    captions = []
    for name in SHOWN:
        caption = Image.new("L", (width, _CAPTION))
        ImageDraw.Draw(caption).text((4, 1), name, fill=255, font=font)
        captions.append(np.asarray(caption))
    return np.vstack([np.hstack(captions), picture])


def write_picture(path: Any, picture: NDArray[np.uint8]) -> None:
    """Write a grey PNG."""
    from PIL import Image

    with atomic_output(path, overwrite=True) as temporary:
        Image.fromarray(picture).save(temporary, format="png")
