"""Makes a moving picture of what a terminal showed: ``make recording`` records the set-up in the lab.

The font is DejaVu Sans Mono; long waits are shortened, nothing else is changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

from .terminal import plain

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{}.ttf"
COLUMNS, ROWS = 80, 24
WIDTH, HEIGHT, POINTS = 8, 17, 13
INK, PAPER = "c8d3f5", "16181f"
APART, LONGEST = 0.12, 1.2

Cells = tuple[tuple[tuple[str, str, str, bool], ...], ...]


def frames(recording: Path) -> Iterator[tuple[Cells, float]]:
    """Yields each state of the screen and how long it stood, in seconds."""
    screen, stream = fresh()
    shown: Cells | None = None
    began = last = 0.0
    for line in recording.read_text().splitlines():
        at, text = json.loads(line)
        if at < last:  # another session begins
            screen, stream = fresh()
            began = last = at
        if at - last >= APART:
            now = cells(screen)
            if shown is not None and now != shown:
                yield shown, min(max(last - began, APART), LONGEST)
                began = last
            shown = now
        last = at
        stream.feed(plain(text.encode("latin-1")))
    yield cells(screen), 3.0


def fresh() -> tuple[pyte.Screen, pyte.ByteStream]:
    """Returns an empty screen and what feeds it."""
    screen = pyte.Screen(COLUMNS, ROWS)
    return screen, pyte.ByteStream(screen)


def cells(screen: pyte.Screen) -> Cells:
    """Returns characters with their colours, and whether they are bold."""
    rows = []
    for row in range(ROWS):
        found = []
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            ink, paper = (cell.fg if len(cell.fg) == 6 else INK), (cell.bg if len(cell.bg) == 6 else PAPER)
            found.append((cell.data or " ", *((paper, ink) if cell.reverse else (ink, paper)), cell.bold))
        rows.append(tuple(found))
    return tuple(rows)


def drawn(state: Cells) -> Image.Image:
    """Draws one state."""
    fonts = {bold: ImageFont.truetype(FONT.format("-Bold" if bold else ""), POINTS) for bold in (False, True)}
    image = Image.new("RGB", (COLUMNS * WIDTH, ROWS * HEIGHT), f"#{PAPER}")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(state):
        for column, (character, ink, paper, bold) in enumerate(line):
            x, y = column * WIDTH, row * HEIGHT
            if paper != PAPER:
                draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), fill=f"#{paper}")
            if character != " ":
                draw.text((x, y), character, font=fonts[bold], fill=f"#{ink}")
    return image


def main(recording: Path, target: Path) -> None:
    """Writes the moving picture."""
    states = list(frames(recording))
    pictures = [drawn(state).quantize(48, dither=Image.Dither.NONE) for state, _ in states]
    durations = [int(seconds * 1000) for _, seconds in states]
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True)
    print(f"{len(pictures)} pictures, {sum(durations) / 1000:.0f} s, {target.stat().st_size // 1024} kB: {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
