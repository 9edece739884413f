import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from lossdoctor.finding import Severity
from lossdoctor.report import triage
from lossdoctor.report.html import render, render_fragment
from lossdoctor.report.triage import Run
from tests.reports import CODE, OUTCOMES, caused, finding, full_record, outcome, report

SCRIPT = "<script>alert(1)</script>"
VOID = {"meta", "br", "link", "hr", "img", "input"}


class Checker(HTMLParser):
    """Collects tags and complains about elements that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def parse(text):
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_order_verdict_findings_run_everything_checked():
    text = render(report(caused(), record=full_record()))
    marks = [
        '<h1 class="ld-verdict">This run cannot be right as it stands; fix this first: Cause.</h1>',
        "Other cause",
        "The run at a glance",
        "Everything checked",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_well_formed_and_fetching_nothing():
    for made in (report(), report(caused(), record=full_record())):
        for text in (render(made), render_fragment(made)):
            for _, attributes in parse(text).tags:
                for name in ("src", "href", "xlink:href", "action"):
                    target = attributes.get(name, "#")
                    assert target.startswith(("#", "data:image/png")), target
            assert "@import" not in text
    assert "default-src 'none'" in render(report())


def test_names_from_the_run_stay_text():
    poisoned = finding("x", title=SCRIPT, message=f"`{SCRIPT}` {SCRIPT}", layers=(SCRIPT,))
    note = outcome("dead_units", "not_applicable", SCRIPT)
    made = report((poisoned,), (*OUTCOMES, note), record=full_record(layer=SCRIPT))
    for text in (render(made), render_fragment(made)):
        assert SCRIPT not in text
        assert "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>" in text


def test_causes_hold_what_they_explain():
    text = render(report(caused()))
    assert text.count('<ol class="ld-findings">') == 3
    assert "<h2><span" in text
    assert "<h4><span" in text
    assert text.count("which explains") == 2


def test_code_can_be_copied_whole():
    code = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", render(report((finding("x"),))), re.S)
    assert code == [CODE.replace('"', "&#34;")]


def test_a_healthy_run_says_so_and_shows_no_findings_section():
    text = render(report())
    assert '<h1 class="ld-verdict">Nothing to fix: 2 checks clear' in text
    assert 'aria-label="Findings"' not in text


def test_the_rule_behind_a_finding_is_explained():
    text = render(report((finding("single_unit_softmax", Severity.ERROR),)))
    assert "About the rule <code>single_unit_softmax</code>" in text
    assert "<strong>Why it matters.</strong>" in text


def test_a_notebook_shows_the_fragment():
    made = report(caused())
    assert made._repr_html_() == render_fragment(made)
    assert "<body" not in made._repr_html_()


def test_a_picture_is_shown_once_and_with_the_finding_it_proves():
    twice = (finding("unscaled_inputs"), finding("unscaled_inputs", message="again"))
    text = render(report(twice, record=full_record()))
    caption = "<figcaption>Scale of the input features</figcaption>"
    assert text.count(caption) == 1
    assert text.index(caption) < text.index("again")
    assert text.count("Seen above: Scale of the input features.") == 1


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def browse(tmp_path, address):
    """The page as it stands once its scripts have run."""
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000",
         "--dump-dom", address],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser")
def test_in_a_browser_copying_works_and_nothing_is_reported(tmp_path):
    made = report(caused(), record=full_record(layer=SCRIPT))
    probe = """
    <script>
    const errors = [];
    addEventListener("error", (event) => errors.push(event.message));
    addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
    let copied = null;
    Object.defineProperty(navigator, "clipboard", {
      value: { writeText: (text) => { copied = text; return Promise.resolve(); } },
    });
    addEventListener("load", async () => {
      const button = document.querySelector(".ld-copy");
      button.click();
      await new Promise((done) => setTimeout(done, 50));
      const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      document.title = JSON.stringify({
        errors, copied, said: button.textContent, hidden: button.hidden, wide,
        svgs: document.querySelectorAll("figure svg").length,
        fetched: performance.getEntriesByType("resource").map((entry) => entry.name)
          .filter((name) => !name.startsWith("data:")),
        scripts: document.scripts.length,
      });
    });
    </script>"""
    page = tmp_path / "run.html"
    page.write_text(render(made).replace("<style>", probe + "<style>", 1), encoding="utf-8")
    shown = browse(tmp_path, page.as_uri())
    title = re.search(r"<title>(.*?)</title>", shown, re.S)[1]
    seen = json.loads(title.replace("&quot;", '"').replace("&amp;", "&"))
    assert seen["errors"] == []
    assert seen["fetched"] == []
    assert seen["copied"] == CODE
    assert seen["said"] == "Copied"
    assert not seen["hidden"]
    assert seen["svgs"] >= 5
    assert seen["scripts"] == 2
    assert seen["wide"] <= 0, "the page scrolls sideways on a phone"


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser")
def test_in_a_browser_a_link_opens_the_report_of_its_run(tmp_path):
    runs = [Run(name=name, report=report(caused())) for name in ("first", "second")]
    page = tmp_path / "runs.html"
    page.write_text(triage.render(triage.triage(runs), "html"), encoding="utf-8")
    shown = browse(tmp_path, f"{page.as_uri()}#run-1")
    opened = re.findall(r'<details class="ld-run" id="(run-\d)" open', shown)
    assert opened == ["run-1"]


def test_a_report_without_the_users_rule_installed_still_renders():
    made = report((dataclasses.replace(finding("my_own_rule"), remedies=()),))
    assert "my own rule" in render(made).lower()
