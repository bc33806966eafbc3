"""Bad weights, configurations, training states and results of evaluations."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

from bad_arrays import Runs, lying_safetensors
from bad_inputs import Corpus, cut, flipped


def write(corpus: Corpus) -> None:
    """Write every kind."""
    _weights(corpus)
    _configurations(corpus)
    _states(corpus)
    _results(corpus)


def _weights(corpus: Corpus) -> None:
    import torch

    from mri_recon.checkpoint import WeightsInfo, save_weights
    from mri_recon.settings import network_settings

    settings = network_settings("unet")(name="unet", channels=2, levels=1)
    place = corpus.folder / "whole.safetensors"
    save_weights(place, settings.build(), WeightsInfo(settings))
    whole = place.read_bytes()
    place.unlink()
    length = int.from_bytes(whole[:8], "little")
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])
    data, rng = whole[8 + length :], corpus.generator("weights")
    first = next(name for name in header if name != "__metadata__")

    def lying(changes: Mapping[str, Any]) -> bytes:
        return lying_safetensors({**header, **changes}, data)

    def described(**changes: str) -> bytes:
        return lying({"__metadata__": {**header["__metadata__"], **changes}})

    tensor = header[first]
    for content in (
        b"", b"{}", b"not weights", b"\xff" * 64, lying_safetensors(b"", b"", 2**63), lying_safetensors({}, b"", 10**9),
        lying_safetensors(b"[" * 10**5), lying_safetensors(b"null"), lying_safetensors(b"\xff" * 100),
        lying({first: {**tensor, "shape": [10**6, 10**6]}}), lying({first: {**tensor, "shape": [-1]}}),
        lying({first: {**tensor, "shape": [*tensor["shape"], 1]}}), lying({first: {**tensor, "dtype": "F64"}}),
        lying({first: {**tensor, "dtype": "no such"}}), lying({first: {**tensor, "data_offsets": [0, 2**62]}}),
        lying({first: {**tensor, "data_offsets": [8, 0]}}), lying({"other": {**tensor, "data_offsets": [0, 4]}}),
        described(network="no such"), described(network="../../etc/passwd"), described(settings="{"),
        described(settings="[]"),
        described(settings="[" * 10**5), described(settings='{"channels": 1000000000}'),
        described(settings='{"channels": 4, "levels": 1000000}'), described(settings='{"channels": "many"}'),
        described(settings='{"channels": -1}'), described(format="mri-recon weights 99"), described(config="nonsense"),
        described(settings='{"channels": 1e400}'),
        whole[: 8 + length] + b"\x00\x00\xc0\x7f" * (len(data) // 4),
    ):  # fmt: skip
        corpus.new("lying safetensors", ".safetensors", role="weights").write_bytes(content)
    for _ in range(8):
        corpus.new("truncated weights", ".safetensors", role="weights").write_bytes(cut(whole, rng))
        flips = flipped(whole[: 8 + length], rng) + data
        corpus.new("bits flipped weights", ".safetensors", "either", role="weights").write_bytes(flips)
    for protocol in range(5):
        path = corpus.new("pickle with code", ".pt", role="weights")
        path.write_bytes(pickle.dumps(Runs(corpus.folder), protocol))
    torch.save({"state_dict": Runs(corpus.folder)}, corpus.new("pickle with code", ".pt", role="weights"))
    torch.save(Runs(corpus.folder), corpus.new("pickle with code", ".safetensors", role="weights"))
    torch.save([1, 2], corpus.new("pickle with code", ".pt", role="weights"))
    torch.save({"a": torch.ones(3)}, corpus.new("pickle with code", ".pt", role="weights"))
    saved = corpus.folder / "whole.pt"
    torch.save({"a": torch.ones(300)}, saved)
    for _ in range(4):
        corpus.new("truncated weights", ".pt", role="weights").write_bytes(cut(saved.read_bytes(), rng))
    saved.unlink()
    with zipfile.ZipFile(corpus.new("pickle with code", ".pt", role="weights"), "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Runs(corpus.folder)))
        archive.writestr("archive/version", "3")


def _configurations(corpus: Corpus) -> None:
    texts = [
        "not TOML", "= 1", "[training", "\x00", "[training]\nepochs = 'many'", "[training]\nepochs = -1",
        "[training]\nepochs = 0", "[training]\nepochs = 1e400", "[training]\nbatch_size = true",
        "[training]\nepochs = nan",
        "training = 3", "[[training]]\nepochs = 1", "[network]\nname = 3", "[network]\nname = '../../etc/passwd'",
        "[network]\nname = 'no such'", "[network]\nchannels = 'x'", "[network]\nchannels = 0", "[network]\nlevels = -2",
        "[network]\nchannels = 1000000000", "[network]\nlevels = 1000000",
        "[network]\nname = 'varnet'\ncascades = 100000000",
        "[generated]\nn_slices = 1000000000000", "[generated]\nsizes = [[1000000, 1000000]]", "[generated]\nsizes = []",
        "[generated]\nsizes = [[0, 0]]", "[generated]\nn_coils = [100000000]", "[generated]\nnoise = [1, -1]",
        "[generated]\nnoise = [inf, nan]", "[training]\nbatch_size = 1000000000000", "[masks]\nkind = 'no such'",
        "[masks]\nkind = []", "[masks]\naccelerations = [1e300]", "[masks]\naccelerations = []",
        "[masks]\naccelerations = [4, 8]\ncenter_fractions = [0.08]", "[masks]\ncenter_fractions = [2.0]",
        "[data]\nfolder = '/no/such/folder'", "[data]\nfolder = '/etc'", "[data]\nfolder = '../../../../../../etc'",
        "[data]\nfolder = '/dev/zero'", "[data]\nfolder = \"a\\u0000b\"", "[data]\nworkers = 1000000000",
        "[output]\nfolder = '/dev/null/x'", "[output]\nfolder = '/proc/no'", "[output]\nfolder = \"a\\u0000b\"",
        "[output]\nfolder = 3", "[optimizer]\nlr = -1", "[optimizer]\nlr = 'fast'", "[optimizer]\nname = 'no such'",
        "[schedule]\nkind = 7", "no_such = 1", "[no.such.table]\na = 1", "[training]\nno_such = 1",
        "[training]\nseed = 99999999999999999999999999", "a = " + "[" * 5000 + "]" * 5000, "a." * 5000 + "a = 1",
    ]  # fmt: skip
    for text in texts:
        corpus.new("configuration", ".toml", role="config").write_text(text, encoding="utf-8")
    corpus.new("configuration", ".toml", role="config").write_bytes(b"\xff\xfe[training]\n")
    corpus.new("configuration", ".toml", role="config").mkdir()


def _states(corpus: Corpus) -> None:
    """The file that `train --resume` goes on from, each in a run folder of its own."""
    import torch

    from mri_recon.checkpoint import STATE_FORMAT

    def new() -> Any:
        folder = corpus.new("training state", "", role="state")
        folder.mkdir()
        return folder / "resume.pt"

    for content in (b"", b"text", b"PK\x03\x04" + bytes(100), pickle.dumps(Runs(corpus.folder))):
        new().write_bytes(content)
    for state in (
        Runs(corpus.folder), 3, {}, {"format": "other"}, {"format": STATE_FORMAT}, {"format": STATE_FORMAT,
        "config": 3},
        {"format": STATE_FORMAT, "config": {}, "position": {}}, {"format": STATE_FORMAT, "config": {"network": {}},
        "position": 1},
    ):  # fmt: skip
        torch.save(state, new())


def _results(corpus: Corpus) -> None:
    """What `evaluate --verify` reads."""
    scores = {"file": "a.h5", "method": "cs", "nmse": 0.1, "psnr": 30.0, "ssim": 0.9}
    file = {"file": "a.h5", "path": str(corpus.secret), "sha256": "0" * 64, "hashed": "file"}
    sound: dict[str, Any] = {
        "settings": {"data": [str(corpus.secret)], "mask": "random", "methods": {"zero-filled": {}},
                     "pairs": [[4, 0.08]], "seed": None, "slices": None},
        "volumes": [scores], "failures": [], "manifest": {"files": [file], "methods": {}, "weights": {}},
    }  # fmt: skip
    settings = sound["settings"]
    values: list[Any] = [
        3, None, [], {}, "text", {**sound, "volumes": 3}, {**sound, "volumes": [3]}, {**sound, "volumes": [{}]},
        {**sound, "settings": {}}, {**sound, "settings": {**settings, "pairs": 3}}, {**sound, "failures": [3]},
        {**sound, "settings": {**settings, "pairs": [["x", None]]}}, {**sound, "settings": {**settings, "methods": 3}},
        {**sound, "settings": {**settings, "methods": {"no such": {}}}}, {**sound, "settings": {**settings,
        "methods": {"cs": 3}}},
        {**sound, "settings": {**settings, "data": 7}}, {**sound, "settings": {**settings, "slices": "x"}},
        {**sound, "settings": {**settings, "definitions": ["no such"]}}, {**sound, "settings": {**settings, "mask": 3}},
        {**sound, "settings": {**settings, "mask": "/etc/passwd"}}, {**sound, "settings": {**settings,
        "reconstructions": 3}},
        {**sound, "manifest": {"files": 3}}, {**sound, "manifest": {"files": [3]}}, {**sound,
        "manifest": {"files": [{**file, "path": 3}]}},
        {**sound, "manifest": {"files": [{**file, "path": "a\x00b"}]}}, {**sound, "manifest": {"files": [file],
        "weights": {"cs": 3}}},
        {**sound, "manifest": {"files": [file], "weights": 3}}, {**sound, "manifest": {"files": [{**file,
        "reconstruction": 3}]}},
        {**sound, "settings": {**settings, "device": "no such"}}, {**sound, "settings": {**settings, "mask": "array"}},
        {**sound, "manifest": {"files": [{**file, "sha256": 3}], "versions": 3}},
    ]  # fmt: skip
    for number, value in enumerate(values):
        expected = "either" if number in (17, 19, 24, 30) else "refused"
        corpus.new("results", ".json", expected, role="results").write_text(
            json.dumps(value), encoding="utf-8"
        )
    for content in (b"", b"{", b"\xff\xfe", b"[" * 10**5, b"NaN", b'{"settings": ' + b"9" * 5000 + b"}"):
        corpus.new("results", ".json", role="results").write_bytes(content)
