"""Renders every approved picture as a PNG, in a folder that is not kept, to be looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import resvg_py

from .test_pictures import APPROVED

FONT = "DejaVu Sans Mono"


def render(target: Path) -> int:
    """Renders all of them and returns how many there were."""
    pictures = sorted(APPROVED.rglob("*.svg"))
    for picture in pictures:
        path = target / picture.relative_to(APPROVED).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = resvg_py.svg_to_bytes(svg_string=picture.read_text().replace("Fira Code", FONT))
        path.write_bytes(bytes(drawn))
    return len(pictures)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"{render(folder)} pictures are in {folder}")
