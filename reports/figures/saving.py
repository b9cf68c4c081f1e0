"""Figures as files, the same bytes each time: no dates, and names inside an SVG that depend on its content alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNDATED: Mapping[str, Mapping[str, str | None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""By format: what a file would say of when and by what it was made, and does not."""
ABOUT: Mapping[str, tuple[str, str]] = {
    "pdf": ("Title", "Subject"), "svg": ("Title", "Description"), "png": ("Title", "Description"),
}  # fmt: skip
"""By format: where a file's metadata hold its title, and what it is made from."""


def save(
    figure: Figure, stem: Path, formats: Sequence[str] = tuple(UNDATED), title: str = "", made_from: str = ""
) -> list[Path]:
    """Write `stem`.pdf, .svg and .png, and say where they are. PDF holds text as text (TrueType).

    `title` and `made_from` go into the metadata of each file, if there is any.

    Raises:
        ValueError: a format that is none of these.
    """
    if unknown := set(formats) - set(UNDATED):
        raise ValueError(f"{min(unknown)!r} is no format of figures: {', '.join(UNDATED)}")
    paths = []
    for kind in formats:
        drawn = BytesIO()
        about = {key: text for key, text in zip(ABOUT[kind], (title, made_from), strict=True) if text}
        # Ticks are made as a figure is drawn: they must be made in its style.
        with styled():
            figure.savefig(drawn, format=kind, metadata={**UNDATED[kind], **about})
        path = stem.with_name(f"{stem.name}.{kind}")
        path.write_bytes(drawn.getvalue())
        paths.append(path)
    return paths
