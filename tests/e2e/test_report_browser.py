"""The report and the comparison in a real browser: headless chromium draws them, offline."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from unittest import mock

import pytest

from maquette.core.generator import Generator
from maquette.report import compare, write_report
from report_fakes.folder import DIGITS, digits_data, fake_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--enable-logging=stderr", "--v=0",
    "--virtual-time-budget=8000",
)  # fmt: skip
NASTY = (*DIGITS[:8], "</script><script>document.title='broken out'</script>", "<img src=x onerror=document.title=1>")

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

# Run by the page itself: what only a browser knows. The page's own policy would refuse it, so the copy that is
# opened allows this one script, and nothing else is changed.
PROBE = """
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)), true);
document.addEventListener("securitypolicyviolation", (event) => window.problems.push("refused: " + event.blockedURI));
window.addEventListener("load", async () => {
  await new Promise((done) => setTimeout(done, 500));
  const pictures = [...document.images];
  const facts = {
    problems: window.problems, title: document.title, pictures: pictures.length,
    decoded: pictures.filter((p) => p.complete && p.naturalWidth > 0).length,
    requests: performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")),
    drawn: [...document.querySelectorAll(".plot")].map((p) => p.querySelectorAll("svg.main-svg path").length),
    wider: document.documentElement.scrollWidth - window.innerWidth,
    legend: [...document.querySelectorAll(".legendtext")].map((t) => t.textContent),
  };
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(facts);
  document.body.append(out);
});
"""


def look(page: Path, tmp_path: Path, width: int = 1280) -> dict:
    """What the browser says about a page, seen `width` pixels wide; its console must be silent."""
    text = page.read_text(encoding="utf-8")
    probed = tmp_path / f"probed-{width}.html"
    text = text.replace("script-src", "script-src &#39;nonce-probe&#39;", 1)
    probed.write_text(text.replace("<style>", f'<script nonce="probe">{PROBE}</script>\n<style>', 1), encoding="utf-8")
    command = [
        str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / f'profile-{width}'}", f"--window-size={width},1600",
        "--dump-dom", probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == []
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    facts: dict = json.loads(unescape(found[1]))
    return facts


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A report with every section there is, and a comparison."""
    base, data = tmp_path_factory.mktemp("runs"), digits_data(NASTY)
    plane = fake_run(base / "plane", data, "encodes", 2, conditional=False)
    other = fake_run(base / "<b>other", data)
    with mock.patch("maquette.report.report.write_figures"):
        report = write_report(plane, Generator.load(plane), data)
    return report, compare([plane, other]).save(base / "comparison.html")


@pytest.mark.parametrize("width", [1280, 500])
def test_report_in_a_browser(pages: tuple[Path, Path], tmp_path: Path, width: int) -> None:
    facts = look(pages[0], tmp_path, width)
    assert facts["problems"] == [] and facts["requests"] == []
    assert facts["title"] == "plane · Maquette"
    assert facts["pictures"] > 200 and facts["decoded"] == facts["pictures"]
    assert len(facts["drawn"]) == 7 and all(facts["drawn"])
    assert facts["wider"] <= 0, "the page scrolls sideways"
    assert set(facts["legend"]) == set(NASTY)


def test_comparison_in_a_browser(pages: tuple[Path, Path], tmp_path: Path) -> None:
    facts = look(pages[1], tmp_path)
    assert facts["problems"] == [] and facts["requests"] == []
    assert facts["title"] == "plane / <b>other · Maquette"
    assert facts["decoded"] == facts["pictures"] == 2
    assert len(facts["drawn"]) == 6 and all(facts["drawn"])
