"""Turn report files into the Markdown tables of README.md and docs/.

    python benchmarks/tables.py --check    # exit status 1 if a document is behind its report
    python benchmarks/tables.py --write

A document holds ``<!-- table: NAME -->`` and ``<!-- /table -->``, each on a line of its own;
what is between them belongs to this program. A new table is a function from a report to Markdown,
listed under its name in the ``TABLES`` of a module ``tables_*.py``; its report is
``benchmarks/reports/REPORT.json``. A table that cannot be made yet may stand empty; ``--check``
names it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import tables_classify
import tables_compress
import tables_cost
import tables_denoising
import tables_peers
from tables_markdown import TableError, Tables

REPOSITORY = Path(__file__).resolve().parent.parent
REPORTS = REPOSITORY / "benchmarks" / "reports"

TABLES: Tables = (
    tables_cost.TABLES
    | tables_denoising.TABLES
    | tables_peers.TABLES
    | tables_classify.TABLES
    | tables_compress.TABLES
)

_BLOCK = re.compile(
    r"^<!-- table: (?P<name>[\w-]+) -->\n(?P<body>.*?)^<!-- /table -->$", re.MULTILINE | re.DOTALL
)
_MARKER = re.compile(r"^<!-- /?table\b.*$", re.MULTILINE)


def render_table(name: str, *, reports: Path = REPORTS) -> str:
    """The Markdown of a table, with a newline at its end.

    Raises
    ------
    TableError
        No such table, or its report has not been made.
    """
    if name not in TABLES:
        raise TableError(f"table '{name}', expected one of {', '.join(sorted(TABLES))}.")
    report, render = TABLES[name]
    path = reports / f"{report}.json"
    if not path.exists():
        raise TableError(f"table '{name}' needs {path.name}: run the benchmark that writes it.")
    return render(json.loads(path.read_text(encoding="utf-8"))).strip() + "\n"


def update(text: str, *, reports: Path = REPORTS) -> str:
    """A document's text with its tables made anew.

    Raises
    ------
    TableError
        A table with content cannot be made, see `render_table`; a marker without its counterpart.
    """
    blocks = list(_BLOCK.finditer(text))
    if 2 * len(blocks) != len(_MARKER.findall(text)):
        raise TableError("a table marker without its counterpart.")

    def replace(block: re.Match[str]) -> str:
        name = block["name"]
        try:
            body = render_table(name, reports=reports)
        except TableError:
            if block["body"].strip():
                raise
            return block[0]
        return f"<!-- table: {name} -->\n{body}<!-- /table -->"

    return _BLOCK.sub(replace, text)


def documents(root: Path = REPOSITORY) -> list[Path]:
    """The READMEs, everything in docs/, and the cards of the bundled models."""
    cards = sorted((root / "src" / "tinysignal" / "models").glob("*.md"))
    readmes = [root / "README.md", root / "benchmarks" / "README.md"]
    return [*readmes, *sorted((root / "docs").glob("**/*.md")), *cards]


def empty_tables(text: str) -> list[str]:
    """Names of the tables without content."""
    return [block["name"] for block in _BLOCK.finditer(text) if not block["body"].strip()]


def main() -> int:
    """Check or write the documents."""
    parser = argparse.ArgumentParser(description="Markdown tables from report files")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="status 1 if a document is behind")
    mode.add_argument("--write", action="store_true", help="update the documents")
    options = parser.parse_args()
    behind, empty = [], []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        try:
            updated = update(text)
        except TableError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        empty.extend(f"{path.name} ({name})" for name in empty_tables(updated))
        if updated != text:
            behind.append(path.name)
            if options.write:
                path.write_text(updated, encoding="utf-8")
    print(f"{'updated' if options.write else 'behind'}: {', '.join(behind) or 'none'}")
    print(f"still empty: {', '.join(empty) or 'none'}")
    return 1 if options.check and behind else 0


if __name__ == "__main__":
    sys.exit(main())
