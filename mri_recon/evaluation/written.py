"""What a results.json must look like before it can be run again; a file from elsewhere is not trusted to."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class _Open(BaseModel):
    """Of known keys the types are checked; others are nobody's business here."""

    model_config = ConfigDict(extra="allow")


class _Settings(_Open):
    data: str | list[str] | None = None
    methods: dict[str, dict[str, Any]] | None = None
    pairs: list[tuple[float, float | None]] | None = None
    mask: str | None = None
    mask_columns: str | None = None
    seed: int | str | None = None
    slices: tuple[int, int] | None = None
    device: str = "auto"
    definitions: dict[str, str] = {}
    reconstructions: str | None = None
    targets: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        needed: tuple[str, ...] = ("data", "methods", "pairs", "mask")
        if self.reconstructions is not None:
            needed = ("targets",)
        needed += ("mask_columns",) if self.mask == "array" else ()
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"'{key}' among the settings")
        return self


class _Volume(_Open):
    file: str
    method: str
    nmse: float | None
    psnr: float | None
    ssim: float | None
    acceleration: float | None = None


class _Failure(_Open):
    file: str


class _File(_Open):
    file: str
    path: str | None
    sha256: str | None
    hashed: str
    reconstruction: str | None = None
    reconstruction_sha256: str | None = None


class _Weights(_Open):
    file: str
    sha256: str | None


class _Manifest(_Open):
    files: list[_File]
    methods: dict[str, dict[str, Any]] = {}
    weights: dict[str, _Weights] = {}
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}


class WrittenResults(_Open):
    """A written evaluation, with its manifest."""

    settings: _Settings
    volumes: list[_Volume]
    failures: list[_Failure]
    manifest: _Manifest
