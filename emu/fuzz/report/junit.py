"""A campaign as JUnit XML: a test case for each generator, which fails with each finding of it."""

from xml.etree import ElementTree as ET

from emu.fuzz.report.numbers import Numbers, plain, share


def render(numbers: Numbers, folder: str | None) -> bytes:
    """The document, UTF-8. folder: of the campaign, None where nothing is kept."""
    result = numbers.result
    config, tally = result.config, result.state.tally
    name = f"bpfemu fuzz, seed {config.seed}, {config.mode}"
    kept = result.kept
    silent = [one for one in config.generators if all(one != found.entry.generator for found in kept)]
    counts = {"tests": len(kept) + len(silent), "failures": len(kept), "errors": 0, "skipped": 0}
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {"name": name, "time": f"{result.seconds:.3f}"} | {k: str(n) for k, n in counts.items()},
    )
    for generator in silent:
        by = tally.share(generator)
        case = ET.SubElement(suite, "testcase", classname="bpfemu.fuzz", name=plain(generator))
        ET.SubElement(case, "system-out").text = f"{by.cases} cases, accepted {share(by.accepted, by.cases)}"
    for one in kept:
        entry = one.entry
        case = ET.SubElement(
            suite, "testcase", classname=plain(f"bpfemu.fuzz.{entry.generator}"), name=plain(entry.name)
        )
        failure = ET.SubElement(case, "failure", message=plain(entry.cause), type=plain(entry.finding.oracle))
        file = f"{folder}/findings/{entry.name}.bpf\n" if folder is not None else ""
        failure.text = plain(f"{entry.finding.message}\n{file}\n{result.programs[entry.name].text}")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
