"""The page: complete, escaped, without a request to anybody, and drawn by a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pla.assess import charts, wording

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Tags that are open, and whatever could make a browser ask somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asks: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.asks += [(tag, name) for name, _ in attrs if name in ("src", "href", "srcset", "data")]
        if tag in ("script", "iframe", "object", "link", "img"):
            self.asks.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(written: Any) -> str:
    assert written.ran.code == 0, written.ran.err
    text: str = written.html.read_text(encoding="utf-8")
    return text


@pytest.mark.prometheus
def test_the_page_is_whole_and_asks_nobody(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert not outline.open and not outline.asks
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    for words in ("given per month", "of it never used", "PLA would save", "VPA", "KRR"):
        assert words in outline.text
    # A namespace's name is text, whatever is in it.
    assert "<odd>" not in page and "<odd>&amp" in outline.text
    assert page.count("<figure>") == 10
    for svg in re.findall(r"<svg.*?</svg>", page):
        ElementTree.fromstring(svg)


OWN_HOSTS = ("google.com", "googleapis.com", "gvt1.com")
"""Chromium asks its maker for the time and for updates, whatever it shows."""


def drawn(page: Path, folder: Path) -> tuple[bytes, list[str], set[str]]:
    """(picture, console messages, foreign hosts asked) of `page` in a headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    picture, log = folder / "page.png", folder / "net.json"
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
            f"--screenshot={picture}", "--window-size=1000,3000", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    hosts = re.findall(r'"url":"(?:https?|wss?)://([^/":]+)', log.read_text(errors="replace"))
    return picture.read_bytes(), console, {h for h in hosts if not h.endswith(OWN_HOSTS)}


@pytest.mark.prometheus
@pytest.mark.browser
def test_a_browser_draws_it_without_complaint(written: Any, tmp_path: Path) -> None:
    picture, console, hosts = drawn(written.html, tmp_path)
    assert len(picture) > 20_000
    assert not console and not hosts


@pytest.mark.browser
def test_a_page_that_asks_somebody_would_be_found_out(tmp_path: Path) -> None:
    page = tmp_path / "asks.html"
    page.write_text("<img src='http://127.0.0.1:9/a.png'><script>console.log('here')</script>")
    _, console, hosts = drawn(page, tmp_path)
    assert hosts == {"127.0.0.1"} and any("here" in line for line in console)


def test_a_curve_keeps_peaks_and_gaps() -> None:
    values = np.zeros(3000)
    values[1234] = 7.0
    values[2000:2200] = np.nan
    drawn = charts.largest_of_parts(values)
    assert len(drawn) <= charts.POINTS and np.nanmax(drawn) == 7.0 and np.isnan(drawn).any()
    text = charts.curves({"used": values}, "a < b", [(0.0, "0"), (7.0, "7")], ["then", "now"])
    root = ElementTree.fromstring(text)
    (path,) = (e for e in root.iter() if e.tag.endswith("path"))
    # One stroke before the gap, one after it; the peak touches the top.
    assert path.get("d", "").count("M") == 2 and f" {charts.TOP:.1f}" in path.get("d", "")


def test_bars_of_nothing_and_of_names_that_are_no_markup() -> None:
    assert ElementTree.fromstring(charts.bars([], "none")) is not None
    text = charts.bars([("<script>" + "x" * 40, 0.0, 0.0, "0")], "zero")
    assert "<script>" not in text
    ElementTree.fromstring(text)


def test_words() -> None:
    assert wording.amount(0.25, "cpu") == "0.250" and wording.amount(12.0, "cpu") == "12.0"
    assert wording.amount(1.5 * 1024**3, "memory") == "1.5 GiB"
    assert wording.amount(512 * 1024.0**2, "memory") == "512 MiB"
    assert wording.amount(float("nan"), "memory") == wording.DASH
    assert wording.money(1234.5, "EUR") == "1,234 EUR" and wording.money(0.5, "EUR") == "0.50 EUR"
    assert wording.share(0.0052) == "0.52%" and wording.share(0.5) == "50%"
