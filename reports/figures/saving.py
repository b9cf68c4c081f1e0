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


def save(figure: Figure, stem: Path, formats: Sequence[str] = tuple(UNDATED)) -> list[Path]:
    """Write `stem`.pdf, .svg and .png, and say where they are. PDF holds text as text (TrueType).

    Raises:
        ValueError: a format that is none of these.
    """
    if unknown := set(formats) - set(UNDATED):
        raise ValueError(f"{min(unknown)!r} is no format of figures: {', '.join(UNDATED)}")
    paths = []
    for kind in formats:
        drawn = BytesIO()
        # Ticks are made as a figure is drawn: they must be made in its style.
        with styled():
            figure.savefig(drawn, format=kind, metadata=dict(UNDATED[kind]))
        path = stem.with_name(f"{stem.name}.{kind}")
        path.write_bytes(drawn.getvalue())
        paths.append(path)
    return paths
