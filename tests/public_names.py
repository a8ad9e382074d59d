"""The public names, read from the source without an import; run it to write docs/reference.md."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "tinysignal"
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Reference

Every public name in one line. `help(tinysignal.Denoiser)` and the like show parameters, shapes,
units, errors and an example. Names that are not listed here may change at any time.
"""


def packages() -> list[str]:
    """``tinysignal`` and the packages that it offers."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text("utf-8"))
    return ["tinysignal", *(f"tinysignal.{name}" for module, name in _imports(stub) if not module)]


def public_names(package: str) -> dict[str, str]:
    """Names that a package offers and the first sentence of what each says of itself."""
    return {name: _described(*_split(home, name)) for name, home in homes(package).items()}


def homes(package: str) -> dict[str, str]:
    """Names that a package offers and the full name where each is defined."""
    place = _file(package)
    stub = place.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else place).read_text("utf-8"))
    listed = _listed(tree)
    sources = {name: module for module, name in _imports(tree)}
    found = {}
    for name in listed if listed is not None else sources:
        source = sources.get(name, "")
        module = source if source.startswith("tinysignal") else f"{package}.{source}".rstrip(".")
        below = f"{package}.{name}"
        found[name] = below if not source and _file(below).exists() else _home(module, name)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def sentence(package: str) -> str:
    """The first sentence of what a package says of itself."""
    return _described(package, "")


def is_module(home: str) -> bool:
    """Whether a full name is a module or package."""
    return _file(home).exists()


def page() -> str:
    """The text of docs/reference.md."""
    parts = [HEAD]
    for package in packages():
        rows = [f"| `{name}` | {line} |" for name, line in public_names(package).items()]
        parts.append(
            "\n".join([f"## {package}\n", "| name | what it is |", "| --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(tree: ast.Module) -> list[tuple[str, str]]:
    """Modules without their leading dots, empty for the package itself, and names from them."""
    blocks = [tree, *(node for node in tree.body if isinstance(node, ast.If))]
    return [
        (node.module or "", alias.name)
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _home(module: str, name: str) -> str:
    """Follow imports to the module that defines a name."""
    tree = ast.parse(_file(module).read_text("utf-8"))
    if _definition(tree, name) is not None:
        return f"{module}.{name}"
    return _home({imported: source for source, imported in _imports(tree)}[name], name)


def _split(home: str, name: str) -> tuple[str, str]:
    """The module of a name, which is the name itself if it is a module."""
    module = home.rpartition(".")[0]
    return (home, "") if is_module(home) else (module, name)


def _described(module: str, name: str) -> str:
    tree = ast.parse(_file(module).read_text("utf-8"))
    return (_definition(tree, name) or "") if name else _first_line(tree)


def _definition(tree: ast.Module, name: str) -> str | None:
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return _first_line(node)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        assigned = [part for target in targets if target is not None for part in ast.walk(target)]
        if name in {getattr(part, "id", "") for part in assigned}:
            after = tree.body[number + 1 : number + 2]
            text = after[0].value if after and isinstance(after[0], ast.Expr) else None
            return str(text.value).splitlines()[0] if isinstance(text, ast.Constant) else ""
    return None


def _first_line(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first paragraph of a docstring, on one line."""
    text = ast.get_docstring(node) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
