"""What the site has beyond docs/: sounds, notebooks, model cards, the changelog, a reference."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import public_names  # noqa: E402


def on_files(files: Files, config: Any) -> Files:
    """Add what is written at build time."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    made: dict[str, str | bytes] = {"changelog.md": changes.replace("](docs/", "](")}
    for card in (ROOT / "src" / "tinysignal" / "models").glob("*.md"):
        made[f"models/{card.name}"] = card.read_text("utf-8").replace("](../../../docs/", "](../")
    for package in public_names.packages():
        made[f"reference/{package}.md"] = _package_page(package)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        made |= _notebook(notebook)
    for path, content in (made | _sounds()).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link the names on the reference page to their descriptions."""
    if page.file.src_uri != "reference.md":
        return markdown
    parts = re.split(r"^## (\S+)\n", markdown, flags=re.MULTILINE)
    text = [parts[0]]
    for package, table in zip(parts[1::2], parts[2::2], strict=True):
        homes = public_names.homes(package)
        linked = re.sub(
            r"^\| `(\w+)` \|",
            lambda row, homes=homes: f"| [`{row[1]}`][{homes[row[1]]}] |",
            table,
            flags=re.MULTILINE,
        )
        text.append(f"## [{package}](reference/{package}.md)\n{linked}")
    return "".join(text)


def on_page_content(html: str, **_: Any) -> str:
    """Show formulas as MathML, which browsers draw without a script."""
    return re.sub(
        "MATH([0-9a-f]+)MATH", lambda held: convert(bytes.fromhex(held[1]).decode()), html
    )


def _package_page(package: str) -> str:
    """A package in a sentence, and each of its names by its docstring."""
    title = f"# {package} {{ #{package} }}\n\n{public_names.sentence(package)}"
    homes = public_names.homes(package).values()
    described = [f"::: {home}" for home in homes if not public_names.is_module(home)]
    return "\n\n".join([title, *described]) + "\n"


def _notebook(path: Path) -> dict[str, str | bytes]:
    """A notebook with its outputs as a page, and its pictures."""
    resources = {"unique_key": path.stem, "output_files_dir": path.stem}
    text, more = MarkdownExporter().from_filename(str(path), resources=resources)
    text = text.replace("](../docs/", "](../").replace("<details>", '<details markdown="1">')
    text = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", text)
    # Outside of code. `on_page_content` puts the formulas in: Markdown would break lines at them.
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"\$([^$]+)\$", _held, part) for part in parts[::2]]
    pictures = {f"notebooks/{name}": content for name, content in more["outputs"].items()}
    return {f"notebooks/{path.stem}.md": "".join(parts), **pictures}


def _held(formula: re.Match[str]) -> str:
    return f"MATH{formula[1].encode().hex()}MATH"


def _sounds() -> dict[str, bytes]:
    """The demo recording, denoised, and what was removed."""
    source = ROOT / "demo" / "talk.flac"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clean.flac"
        command = [sys.executable, "-m", "tinysignal", "denoise", str(source), "-o", str(out)]
        subprocess.run([*command, "--residual"], check=True, capture_output=True)
        made = {"noisy": source, "clean": out, "removed": out.with_name("clean.residual.flac")}
        return {f"assets/{name}.flac": path.read_bytes() for name, path in made.items()}
