"""The documentation says what there is, its links lead somewhere, and its examples run."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
from command_line import run
from helpers import ROOT
from small_scans import small_scan

from mri_recon.catalog import MASKS, METHODS
from mri_recon.checkpoint import SHIPPED
from mri_recon.cli.main import COMMANDS, cli
from mri_recon.data.storage import write_scan
from mri_recon.training.config import OutputSettings

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[str]:
    """Fenced blocks of the languages."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in fenced if language in languages]


def command_lines(page: str) -> list[list[str]]:
    """Arguments of every line that calls `mri-recon`, in the shell blocks of a page."""
    lines = "\n".join(blocks(page, "bash", "sh", "console")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [words[1:] for words in split if words[:1] == ["mri-recon"]]


def section(page: str, heading: str) -> str:
    """Text under a heading, its subsections included."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", page, flags=re.M | re.S)
    assert found, f"no section '{heading}'"
    return found[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_in_its_section(name):
    page = read("docs/commands.md")
    text = section(page, f"mri-recon {name}") + section(page, "What holds for all of them").split("###")[0]
    command = cli.get_command(None, name)
    options = {o for p in command.params if isinstance(p, click.Option) for o in p.opts} | {"--help"}
    assert len(options) > 5
    assert [o for o in sorted(options) if not re.search(rf"`{o}[ `]", text)] == []
    assert f"[`{name}`](#mri-recon-{name})" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_told_of_that_there_is_not(name):
    text = section(read("docs/commands.md"), f"mri-recon {name}")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `-"))
    told = set(re.findall(r"`(--?[a-z][\w-]*)", " ".join(row.split("|")[1] for row in table.splitlines())))
    there = {o for p in cli.get_command(None, name).params for o in p.opts}
    assert told <= there


def test_every_method_setting_and_mask_is_told_of():
    page = read("docs/methods.md")
    for name, entry in METHODS.items():
        text = section(page, name)
        fields = entry.load().settings()
        for field, info in fields.items():
            row = re.search(rf"^\| `{field}` \| ([^|]*) \|", text, flags=re.M)
            assert row, f"{name} has a setting {field}"
            if isinstance(info.default, int | float):
                assert float(row[1]) == info.default
        assert len(re.findall(r"^\| `", text, flags=re.M)) == len(fields)
    for name in MASKS:
        assert f"| `{name}` |" in section(page, "Masks")
        assert f"`{name}`" in read("docs/commands.md")


def anchors(page: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            dead.append(link)
    assert dead == []


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the README's examples name."""
    (tmp_path / "scans").mkdir()
    for name, n_coils in (("scan.h5", 3), ("scans/one.h5", 1), ("scans/two.h5", 1)):
        write_scan(tmp_path / name, small_scan(Path(name).name, n_slices=1, n_coils=n_coils))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(workplace, capsys):
    code = blocks(read("README.md"), "python")
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    out = capsys.readouterr().out
    assert "(1, 48, 40)" in out
    assert "| zero-filled |" in out


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_line_of_the_pages_parses(page):
    for name, *arguments in command_lines(page.read_text(encoding="utf-8")):
        assert name in COMMANDS
        cli.get_command(None, name).make_context(name, arguments)


TAKES_LONG = {"demo", "train"}


def test_the_commands_of_the_readme_run(workplace, capsys):
    """All but those that train or take most of a minute, which tests of their own run smaller."""
    done = []
    for words in command_lines(read("README.md")):
        if words[0] in TAKES_LONG or "--weights" in words:
            continue
        outcome = run(capsys, *words)
        assert outcome.code == 0, outcome
        done.append(words[0])
    assert {"reconstruct", "evaluate", "mask"} <= set(done)
    assert (workplace / "out" / "scan.h5").exists()
    assert (workplace / "out" / "scan.png").exists()


def test_the_readme_names_the_weights_that_training_writes():
    named = re.findall(r"--weights (\S+)", read("README.md"))
    assert named
    assert set(named) == {f"{OutputSettings().folder}/best.safetensors", SHIPPED}


def test_the_scripts_of_the_readme_are_there():
    for line in "\n".join(blocks(read("README.md"), "bash")).splitlines():
        if line.startswith("scripts/"):
            path = ROOT / line.split()[0]
            assert path.stat().st_mode & 0o111, f"{path} cannot be run"
