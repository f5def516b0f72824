"""The checks of a gate as other programs read them: JUnit XML, GitHub annotations and summary."""

from collections.abc import Sequence
from xml.etree import ElementTree

from edgefleet_controller.results.gate import Check, Outcome


def junit_xml(checks: Sequence[Check]) -> bytes:
    """Return the checks as a JUnit document: one test case each, undecided and skipped ones as skipped."""
    counts = {outcome: sum(check.outcome is outcome for check in checks) for outcome in Outcome}
    suite = ElementTree.Element(
        "testsuite",
        name="edgefleet gate",
        tests=str(len(checks)),
        failures=str(counts[Outcome.FAILED]),
        skipped=str(counts[Outcome.UNDECIDED] + counts[Outcome.SKIPPED]),
        errors="0",
    )
    for check in checks:
        where = f"{check.row} on {check.device}" if check.device else check.row
        case = ElementTree.SubElement(suite, "testcase", classname=where, name=check.question)
        if check.outcome is Outcome.FAILED:
            ElementTree.SubElement(case, "failure", message=check.reason)
        elif check.outcome is not Outcome.PASSED:
            ElementTree.SubElement(case, "skipped", message=f"{check.outcome.value}: {check.reason}")
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def annotations(checks: Sequence[Check]) -> str:
    """A workflow command for each check that failed (error) or is undecided (warning), a line each."""
    lines = []
    for check in checks:
        if check.outcome in (Outcome.FAILED, Outcome.UNDECIDED):
            level = "error" if check.outcome is Outcome.FAILED else "warning"
            lines.append(f"::{level} title={_property(check.row)}::{_data(sentence(check))}\n")
    return "".join(lines)


def summary(checks: Sequence[Check]) -> str:
    """The checks as a table in GitHub's Markdown, for the file that $GITHUB_STEP_SUMMARY names."""
    rows = [(check.outcome.value, check.row, check.device or "-", check.question, check.reason) for check in checks]
    lines = ["### edgefleet gate", "", "| outcome | variant | device | check | found |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def sentence(check: Check) -> str:
    """The check in words."""
    where = f"{check.row} on {check.device}" if check.device else check.row
    return f"{where}: {check.question} is {check.outcome.value}: {check.reason}"


def _data(text: str) -> str:
    """Escape the message of a workflow command (actions/toolkit, packages/core/src/command.ts, escapeData)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command (the same file, escapeProperty)."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _markdown(text: str) -> str:
    """Text in a cell, in which no HTML and no Markdown is read (spec of GitHub Flavored Markdown, 2.4 and 4.10)."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+!|~$" else letter for letter in text)
    return escaped.replace("\n", " ").replace("\r", " ").replace("@", "&#64;")
