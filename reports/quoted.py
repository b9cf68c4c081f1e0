"""Published rows for the paper's table: figures that somebody printed, marked as quoted and never computed with.

- name: DPO-CAI
  source: "Zhang 2025 (arXiv 2504.04918)"
  average: "5.46"
  average_change: "-0.59, -9.8 %"
  asr: "42"

Ratings ("turn_1", "turn_2", "average") are those of MT-Bench.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.paper_table import QuotedRow
from tasks.errors import BadInput, suggestion

KEYS = frozenset({
    "turn_1", "turn_2", "average", "average_change", "asr", "asr_change", "refusal", "degenerate", "over_refusal",
})  # fmt: skip


def read_quoted(path: Path) -> list[QuotedRow]:
    """Read quoted rows from a YAML file, a list of them.

    Raises:
        BadInput: unreadable, a row without a name or a source, a key that no column has, or no YAML library.
    """
    try:
        import yaml
    except ImportError:
        raise BadInput("quoted rows are read with PyYAML: pip install 'bench[report]'") from None
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"can not read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"can not read {path}: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{path} holds no quoted rows: each begins with - name: …")
    return [_row(f"{path}, row {number}", row) for number, row in enumerate(rows, start=1)]


def _row(where: str, row: dict[str, Any]) -> QuotedRow:
    for key, value in row.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadInput(f'{where}: {key} is text as it was printed: {key}: "{value}"')
        if key not in KEYS | {"name", "source"}:
            raise BadInput(f"{where}: unknown key {key!r}: {suggestion(key, sorted(KEYS), 'keys')}")
    if not row.get("name") or not row.get("source"):
        raise BadInput(f"{where}: a quoted row says its name and its source")
    return QuotedRow(row["name"], row["source"], {key: row[key] for key in KEYS & set(row)})
