"""What a check of data found: counts and names, as lines to read, as JSON, and as an error."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from tinysignal.errors import DataError

Severity = Literal["error", "warning", "mended", "note"]
_log = logging.getLogger(__name__)
_SHOWN = 3  # names of a group in the lines; of unreadable files, all are named


@dataclass(frozen=True)
class Kind:
    """One kind of finding: how serious it is, and how it is said of one and of several."""

    severity: Severity
    one: str
    many: str
    mended_by: str = ""  # an option that mends it


KINDS = {
    "unreadable": Kind("error", "file cannot be read", "files cannot be read"),
    "unmatched": Kind("error", "file has no partner", "files have no partner"),
    "length": Kind("error", "pair differs in length", "pairs differ in length"),
    "shifted": Kind("error", "pair is shifted", "pairs are shifted", "--align"),
    "inverted": Kind("error", "pair differs in polarity", "pairs differ in polarity", "--align"),
    "cancelling": Kind("error", "file cancels in mono", "files cancel in mono"),
    "both": Kind("error", "file is in both folders", "files are in both folders"),
    "slight": Kind(
        "warning", "pair is shifted by less than 1 ms", "pairs are shifted by less than 1 ms"
    ),
    "level": Kind("warning", "pair differs in level", "pairs differ in level"),
    "unrelated": Kind(
        "warning",
        "pair may be of different recordings",
        "pairs may be of different recordings",
    ),
    "speechless": Kind(
        "warning", "clean recording may hold no speech", "clean recordings may hold no speech"
    ),
    "silent": Kind("warning", "file is silent", "files are silent"),
    "blank": Kind("warning", "picture is blank", "pictures are blank"),
    "few": Kind("warning", "class has few examples", "classes have few examples"),
    "ambiguous": Kind("warning", "file has copies in another class", "files have copies in others"),
    "crossing": Kind(
        "warning", "file is a copy of a held-out one", "files are copies of held-out ones"
    ),
    "grouped": Kind("warning", "file is of a held-out group", "files are of held-out groups"),
    "copy": Kind("note", "file is a copy of another", "files are copies of others"),
    "ending": Kind("note", "file was passed over", "files were passed over"),
}
"""Every kind of finding, in the order of a report."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Parameters
    ----------
    kind : str
        Key of `KINDS`.
    name : str
        File, pair or class; for ``ending`` the extension.
    detail : str
        What is found, in a few words or as the message of an error.
    value : float or None
        Its number, in the unit of the detail.
    done : str
        What was done about it, such as ``left out``; empty for nothing.
    """

    kind: str
    name: str
    detail: str = ""
    value: float | None = None
    done: str = ""

    @property
    def severity(self) -> Severity:
        """``error``, ``warning`` or ``note`` by its kind; ``mended`` if something was done."""
        severity = KINDS[self.kind].severity
        return "mended" if self.done and severity != "note" else severity

    @property
    def line(self) -> str:
        """Name and detail."""
        return f"{self.name}: {self.detail}" if self.detail else self.name


@dataclass(frozen=True)
class Group:
    """Findings of one kind that share what was done about them."""

    kind: str
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """That of its findings."""
        return self.findings[0].severity

    @property
    def count(self) -> int:
        """Number of files, pairs or classes."""
        if self.kind == "ending":
            return int(sum(finding.value or 0 for finding in self.findings))
        return len(self.findings)

    @property
    def title(self) -> str:
        """One line of what it is, and of what was done or what mends it."""
        kind, done = KINDS[self.kind], self.findings[0].done
        title = f"{self.count} {kind.one if self.count == 1 else kind.many}"
        if done:
            return f"{title}: {done}"
        return f"{title}; {kind.mended_by} mends it" if kind.mended_by else title

    def lines(self) -> list[str]:
        """Names with details: all of unreadable files, else the first few."""
        if self.kind == "ending":
            return [", ".join(f"{f.value:.0f} {f.name}" for f in self.findings[:8])]
        most = len(self.findings) if self.kind == "unreadable" else _SHOWN
        more = len(self.findings) - most
        lines = [finding.line for finding in self.findings[:most]]
        return [*lines, f"and {more} more"] if more > 0 else lines

    def to_dict(self) -> dict[str, Any]:
        """Everything, all names included."""
        files = [
            {"name": f.name, "detail": f.detail} | ({} if f.value is None else {"value": f.value})
            for f in self.findings
        ]
        about = {"kind": self.kind, "severity": self.severity, "count": self.count}
        return {**about, "summary": self.title, "files": files}


@dataclass(frozen=True)
class DataReport:
    """What a check of the data of a run found; ``print`` shows it.

    Parameters
    ----------
    what : str
        What was checked: ``24 pairs, 3.2 minutes``.
    findings : tuple of Finding

    Examples
    --------
    >>> from tinysignal.datasets.report import DataReport, Finding
    >>> report = DataReport("2 pairs", (Finding("shifted", "a", "noisy is 7 ms late", 7.0),))
    >>> print(report)
    Data: 2 pairs, 1 error.
      error   1 pair is shifted; --align mends it
                a: noisy is 7 ms late
    Errors end the run; --skip-bad leaves out the files that have one.
    """

    what: str
    findings: tuple[Finding, ...] = ()

    @property
    def groups(self) -> list[Group]:
        """Findings by kind, in the order of `KINDS`: errors first."""
        grouped: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault((finding.kind, finding.done), []).append(finding)
        order = list(KINDS)
        keys = sorted(grouped, key=lambda key: (order.index(key[0]), key[1]))
        return [Group(key[0], tuple(grouped[key])) for key in keys]

    @property
    def errors(self) -> list[Finding]:
        """Findings that make training wrong, and about which nothing was done."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def says_more(self) -> bool:
        """Whether it says more than the error of `refuse`."""
        return not len(self.findings) == len(self.errors) == 1

    @property
    def headline(self) -> str:
        """What was checked, with the numbers of errors and warnings."""
        counts = Counter(finding.severity for finding in self.findings)
        parts = [
            f"{counts[severity]} {severity}{'' if counts[severity] == 1 else 's'}"
            for severity in ("error", "warning")
            if counts[severity]
        ]
        return f"Data: {', '.join([self.what, *parts])}."

    @property
    def advice(self) -> str:
        """What errors mean."""
        return "Errors end the run; --skip-bad leaves out the files that have one."

    def __str__(self) -> str:
        lines = [self.headline]
        for group in self.groups:
            lines.append(f"  {group.severity:<8}{group.title}")
            lines += [f"            {line}" for line in group.lines()]
        return "\n".join([*lines, *([self.advice] if self.errors else [])])

    def to_dict(self) -> dict[str, Any]:
        """Contents of ``data.json`` of a run folder."""
        return {"checked": self.what, "findings": [group.to_dict() for group in self.groups]}

    def refuse(self) -> None:
        """Refuse data with errors, in one line.

        Raises
        ------
        DataError
        """
        errors = self.errors
        if not errors:
            return
        first = self.groups[0]
        said = f"{first.findings[0].name}: {first.findings[0].detail or KINDS[first.kind].one}"
        if len(errors) > 1:
            said = f"{len(errors)} errors in the data, such as {said}"
        raise DataError(
            f"{said.rstrip('.')}. Mend or remove what is named; in training, skip_bad=True "
            "(--skip-bad) leaves it out."
        )


OnReport = Callable[[DataReport], None]


def log_report(report: DataReport) -> None:
    """Log a report that holds errors or warnings."""
    serious = any(finding.severity in ("error", "warning") for finding in report.findings)
    if serious and report.says_more:
        _log.warning("%s", report)


def left_out(findings: Iterable[Finding]) -> list[Finding]:
    """Findings after all that is wrong was left out."""
    return [replace(f, done="left out") if f.severity == "error" else f for f in findings]


def endings(counts: Counter[str]) -> list[Finding]:
    """Findings of the files that were passed over, by extension."""
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [Finding("ending", e or "without an ending", value=float(n)) for e, n in most]


def reason(error: Exception, name: str) -> str:
    """Message of an error about a file, without the name of the file at its start."""
    return str(error).removeprefix(f"{name}: ")
