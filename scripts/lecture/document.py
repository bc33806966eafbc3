"""Tables and pictures put into the page that tells of them."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from mri_recon.errors import OutputError
from mri_recon.files import make_folder


def put(page: Path, name: str, results: Path) -> None:
    """Replace what is between ``<!-- name -->`` and ``<!-- /name -->``, the picture going to `images` beside the page.

    Raises
    ------
    OutputError
        The page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.S)
    if not place.search(text):
        raise OutputError(
            f"{page} has no <!-- {name} --> … <!-- /{name} --> to put the results between. Add it."
        )
    picture = make_folder(page.parent / "images") / f"lecture_{name}.png"
    with Image.open(results / f"{name}.png") as whole:  # a page needs neither every pixel nor every colour
        shown = whole.convert("RGB")
        shown.thumbnail((960, 960))
        shown.quantize(48).save(picture, optimize=True)
    table = (results / f"{name}.md").read_text(encoding="utf-8")
    part = f"\n![{name}: what the table below says](images/{picture.name})\n\n{table}\n"
    page.write_text(place.sub(lambda found: found[1] + part + found[2], text), encoding="utf-8")
