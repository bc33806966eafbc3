from pathlib import Path

import pytest

from mri_recon.assignments import parse_assignments
from mri_recon.errors import SettingsError
from mri_recon.training import config as module
from mri_recon.training.config import TrainingConfig, load_config, shipped_configs, to_toml

CONFIGS = Path(__file__).parents[2] / "configs"


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_quick_config_is_the_default():
    assert load_config(CONFIGS / "unet_quick.toml") == TrainingConfig() == load_config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_config_loads_and_survives_writing(path, tmp_path):
    config = load_config(path)
    assert load_config(write(tmp_path, to_toml(config))) == config


def test_configs_that_are_shipped_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unet").mkdir()  # a folder of that name is no configuration
    for name in ("varnet", "varnet.toml", "configs/varnet.toml"):
        assert load_config(Path(name)) == load_config(CONFIGS / "varnet.toml")
    assert load_config(Path("unet")) == load_config(CONFIGS / "unet.toml")
    assert {"unet", "unet_quick", "unet_shipped", "varnet"} <= set(shipped_configs())
    # A file of one's own comes first.
    (tmp_path / "varnet.toml").write_text("[training]\nepochs = 77\n")
    assert load_config(Path("varnet.toml")).training.epochs == 77
    with pytest.raises(
        SettingsError, match=r"no configuration file varnte.*Did you mean 'varnet'\?.*Check the path"
    ):
        load_config(Path("varnte"))


def test_an_installation_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "site" / "mri_recon"
    (package / "configs" / "lecture").mkdir(parents=True)
    for name in ("varnet.toml", "lecture/adam.toml"):
        (package / "configs" / name).write_text("[training]\nepochs = 5\n")
    monkeypatch.setattr(module.resources, "files", lambda _: package)
    assert list(shipped_configs()) == ["lecture/adam", "varnet"]
    assert load_config(Path("lecture/adam")).training.epochs == 5


def test_the_serious_config_is_the_missions_network():
    network = load_config(CONFIGS / "unet.toml").network.model_dump()
    assert (network["channels"], network["levels"], network["norm"]) == (32, 4, "group")


def test_what_is_left_out_is_the_default(tmp_path):
    config = load_config(write(tmp_path, "[training]\nepochs = 3\n[network]\nchannels = 8\n"))
    assert config.training.epochs == 3
    assert config.training.batch_size == TrainingConfig().training.batch_size
    assert config.network.model_dump() == {
        "name": "unet", "channels": 8, "levels": 4, "norm": "group", "dropout": 0.0, "residual": True,
        "data_consistency": "none", "first": "zero-filled", "sees": "magnitude", "trust": 1.0, "gain": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[optimizer]\nlr = "fast"', r"\[optimizer\] lr: expected a number, got 'fast'"),
        ("[optimizer]\nlr = -1", r"\[optimizer\] lr: expected greater than 0, got -1"),
        ("[optimizer]\nlr = nan", r"\[optimizer\] lr: expected"),
        ("[training]\nepoch = 3", r"no key 'epoch' in \[training\]. Did you mean 'epochs'"),
        ("[trainin]\nepochs = 3", r"no key 'trainin'. Did you mean 'training'"),
        ("lr = 0.1", r"no key 'lr'. Did you mean 'optimizer.lr'\?"),
        ("epochs = 3", r"no key 'epochs'. Did you mean 'training.epochs'\?"),
        ("[network]\nchanels = 3", r"no key 'chanels' in \[network\]. Did you mean 'channels'"),
        (
            '[network]\nnorm = "batchgroup"',
            r"\[network\] norm: expected 'group', 'instance', 'batch', 'layer' or 'none'",
        ),
        ("[network]\nchannels = 0", r"\[network\] channels: expected greater than or equal to 1, got 0"),
        ('[network]\nname = "unett"', r"no network 'unett'. Did you mean 'unet'"),
        ('[masks]\nkind = "randm"', r"\[masks\] kind: expected a mask.*Did you mean 'random'.* got 'randm'"),
        ('[masks]\nkind = ["random", "magick"]', r"\[masks\] kind: expected .*Did you mean 'magic'"),
        ("[masks]\nkind = []", r"\[masks\] kind: expected a mask or a list of masks"),
        ("[masks]\nkind = 3", r"\[masks\] kind: expected a mask or a list of masks .*got 3"),
        ('[optimizer]\nname = "adm"', r"There is no optimizer 'adm'. Did you mean 'adam'"),
        ("[optimizer]\nmomentum = 0.5", r"no key 'momentum' in \[optimizer\]"),
        ('[optimizer]\nname = "sgd"\nmomentum = 1.0', r"\[optimizer\] momentum: expected less than 1, got 1"),
        ('[schedule]\nkind = "linear"', r"\[schedule\] kind: expected 'constant', 'step' or 'cosine'"),
        ("[schedule]\ndrops = [1.5]", r"\[schedule\] drops: expected less than 1, got 1.5"),
        ("[schedule]\nfactor = 0.0", r"\[schedule\] factor: expected greater than 0, got 0"),
        ("[training]\nema_decay = 1.0", r"\[training\] ema_decay: expected less than 1, got 1"),
        ("[training]\nclip_norm = -1", r"\[training\] clip_norm: expected greater than or equal to 0"),
        ('[training]\nprecision = "half"', r"\[training\] precision: expected 'float32' or 'bfloat16'"),
        ("[training]\naccumulate = 0", r"\[training\] accumulate: expected greater than 0, got 0"),
        ('[training]\ncompile = "yes please"', r"\[training\] compile: expected true or false, got"),
        ("[data]\ngenerated_share = 1.0", r"\[data\] generated_share: expected less than 1, got 1"),
        ("[data]\nphase = -0.5", r"\[data\] phase: expected greater than or equal to 0, got -0.5"),
        ("[data]\nnoise = -0.5", r"\[data\] noise: expected greater than or equal to 0, got -0.5"),
        ("[data]\nintensity = -0.5", r"\[data\] intensity: expected greater than or equal to 0, got -0.5"),
        ('[data]\nrotations = "some"', r"\[data\] rotations: expected true or false"),
        ('[generated]\nfresh = "often"', r"\[generated\] fresh: expected true or false"),
        ('[output]\ntensorboard = "here"', r"\[output\] tensorboard: expected true or false"),
        ("[masks]\naccelerations = [1e300]", r"accelerations.*4096"),
        ("[masks]\naccelerations = [4, 8]", r"\[masks\]: expected as many accelerations as center_fractions"),
        (
            '[training]\nloss = "l2"',
            r"\[training\] loss: expected 'l1', 'mse', 'ssim', 'l1\+ssim', 'psnr' or 'psnr\+ssim', got 'l2'",
        ),
        ("[training]\nepochs = 2.5", r"\[training\] epochs: expected a whole number, got 2.5"),
        ("[generated]\nnoise = [0.1, 0.01]", r"\[generated\]: expected noise.*least, most"),
        ("training = 3", r"training: expected a valid dictionary.*, got 3"),
        ("[[training]]\nepochs = 1", r"training: expected a valid dictionary"),
        ("[training]\nepochs = true", r"\[training\]: expected a number for epochs, not true"),
        ("[data]\nworkers = 1000000000", r"\[data\] workers: expected less than or equal to 256"),
        (
            "[generated]\nn_slices = 1000000000000",
            r"\[generated\] n_slices: expected less than or equal to 1000000",
        ),
        (
            "[generated]\nn_slices = 1000000\nsizes = [[512, 512]]",
            r"\[generated\]: expected images that fit in memory",
        ),
        (
            "[generated]\nsizes = [[1000000, 1000000]]",
            r"\[generated.*\] sizes: expected less than or equal to 4096",
        ),
        ("a = " + "9" * 5000, "is no configuration: Exceeds the limit"),
        ("a = " + "[" * 5000, "is no"),
        ("[training", "is not TOML"),
    ],
)
def test_errors_name_the_key(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "config.toml" in str(caught.value)


def test_a_missing_config_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="There is no configuration file"):
        load_config(tmp_path / "nowhere.toml")


def test_assignments_are_toml_values():
    values = parse_assignments(
        ("optimizer.lr=1e-4", "network.norm=none", "masks.accelerations=[4, 8]", "data.flips=false")
    )
    assert values == {
        "optimizer": {"lr": 1e-4},
        "network": {"norm": "none"},
        "masks": {"accelerations": [4, 8]},
        "data": {"flips": False},
    }


def test_assignments_change_the_config():
    config = load_config(None, parse_assignments(("optimizer.lr=1e-4", "network.norm=none")))
    assert config.optimizer.lr == 1e-4
    assert config.network.model_dump() == {**TrainingConfig().network.model_dump(), "norm": "none"}


@pytest.mark.parametrize("assignment", ["lr", "=3", "optimizer.=3"])
def test_a_malformed_assignment_is_an_error(assignment):
    with pytest.raises(SettingsError, match="Expected key=value"):
        parse_assignments((assignment,))
