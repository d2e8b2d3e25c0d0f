#!/usr/bin/env python3
"""Follows the links of Markdown pages to files and headings in this repository. The pages' names come
on standard input."""

import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)|^\[[^\]^]+\]: (?!https?:)([^#\s]+)", re.M)


def text(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)


def headings(page):
    """The anchors of a page, as GitHub makes them."""
    anchors = set()
    for title in re.findall(r"^#+ (.*)$", text(page), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{anchor}-{number}" if number else anchor) in anchors:
            number += 1
        anchors.add(unique)
    return anchors


found, broken = 0, []
for name in sys.stdin.read().split():
    page = Path(name)
    for file, heading, reference in LINK.findall(text(page)):
        found += 1
        target = page.parent / (file or reference or page.name)
        if not target.exists():
            broken.append(f"{page} links to {target}, which is not there")
        elif heading and target.suffix == ".md" and heading not in headings(target):
            broken.append(f"{page} links to the heading #{heading} of {target}, which is not there")
print(f"{found} links")
sys.exit("\n".join(broken) or 0)
