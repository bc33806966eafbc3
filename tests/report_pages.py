"""A report to look at: two scans of untrusted names, two acquisitions, two methods, two accelerations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

from small_scans import small_scan

from mri_recon import evaluate
from mri_recon.report.build import render
from mri_recon.report.gallery import Gallery

HOSTILE = "</script><img src=x onerror=\"document.title='hit'\"> & '.h5"


@cache
def small_report():
    """The evaluation, its gallery and the page."""
    scans = [
        replace(small_scan("one.h5", n_slices=3), acquisition="AXT1"),
        replace(small_scan("two.h5", height=40, width=48), name=HOSTILE, acquisition="<b>AXT2</b>"),
    ]
    gallery = Gallery()
    found = evaluate(
        scans,
        ["zero-filled", "sense"],
        pairs=[(3, 0.2), (5, 0.1)],
        seed=1,
        on_volume=lambda done, total, scan, result: gallery.add(result),
    )
    return found, gallery, render(found, gallery)


def page_data(page: str):
    """What the page's program reads."""
    text = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.S)[1]
    return json.loads(text)


class Page(HTMLParser):
    """A page as a browser sees it: elements with their attributes, tables as text, text outside scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.text = [], {}, ""
        self._table, self._inside = None, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "table":
            self._table = self.tables.setdefault(dict(attributes).get("id"), [])
        if tag == "tr" and self._table is not None:
            self._table.append([])
        if tag in ("td", "th") and self._table:
            self._table[-1].append("")

    def handle_endtag(self, tag):
        if tag == "table":
            self._table = None
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data):
        if self._inside:
            return
        self.text += data
        if self._table and self._table[-1]:
            self._table[-1][-1] = " ".join((self._table[-1][-1] + " " + data).split())

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
