"""CHANGELOG.md keeps to the form of Keep a Changelog 1.1.0."""

from __future__ import annotations

import re
from datetime import date

from packaging.version import Version

from tests.docs.readme import ROOT, tree
from xmediameta import __version__

CHANGELOG = ROOT / "CHANGELOG.md"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_the_form() -> None:
    top, *rest = [node for node in tree(CHANGELOG).children if node.type == "heading"]
    assert (top.tag, top.children[0].content) == ("h1", "Changelog")
    versions: list[str] = []
    kinds: list[str] = []
    for node in rest:
        title = node.children[0].content
        if node.tag == "h2":
            versions.append(title)
            kinds = []
        else:
            assert node.tag == "h3"
            assert title in KINDS
            assert title not in kinds
            kinds.append(title)
    assert versions[0] == "[Unreleased]"
    released = []
    for title in versions[1:]:
        match = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", title)
        assert match is not None, title
        released.append((Version(match[1]), date.fromisoformat(match[2])))
    assert released == sorted(released, reverse=True)
    assert all(version <= Version(__version__) for version, _ in released)


def test_every_change_is_one_line_of_a_list() -> None:
    text = CHANGELOG.read_text()
    assert "https://keepachangelog.com/en/1.1.0/" in text
    assert "https://semver.org/" in text
    changes = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(changes) == len(set(changes)) > 0
    assert all(line.rstrip().endswith(".") for line in re.split(r"\n(?=- |#|\n)", text) if line.startswith("- "))
    empty = re.search(r"^### .+\n+(?=#|\Z)", text, re.MULTILINE)
    assert empty is None
