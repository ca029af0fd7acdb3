"""Selftest results as JUnit XML, one suite an object."""

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from emu.selftest.runner import Result


def render(results: Iterable[Result]) -> bytes:
    """The document, UTF-8."""
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(result.object, []).append(result)
    root = ET.Element("testsuites")
    for name, items in suites.items():
        failed = sum(item.state == "fail" for item in items)
        left = sum(item.state in ("unsupported", "skipped") for item in items)
        counts = {"tests": len(items), "failures": failed, "errors": 0, "skipped": left}
        suite = ET.SubElement(
            root, "testsuite", {"name": _clean(name)} | {k: str(n) for k, n in counts.items()}
        )
        for item in items:
            case = ET.SubElement(suite, "testcase", classname=_clean(name), name=_clean(item.program))
            if item.state == "fail":
                ET.SubElement(case, "failure", message=_clean(item.why))
            elif item.state != "pass":
                ET.SubElement(case, "skipped", message=_clean(f"{item.state}: {item.why}"))
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
