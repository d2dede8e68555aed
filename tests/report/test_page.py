"""The page stands on its own, reads well to a machine, and runs nothing."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from neurodecorr import plots
from neurodecorr.report import page
from neurodecorr.report.page import CAPTIONS

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that every tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
PICTURES = dict.fromkeys(plots.FIGURES, SVG)


@pytest.fixture(scope="module")
def text(troubled):
    return page(troubled, PICTURES)


def test_every_figure_has_its_caption():
    assert set(CAPTIONS) == set(plots.FIGURES)


def test_every_tag_is_closed_and_every_id_unique(text):
    ids = [attributes["id"] for _, attributes in read(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) >= len(plots.FIGURES)


def test_it_asks_for_nothing_from_elsewhere_and_runs_nothing(text):
    for tag, attributes in read(text).tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert "@import" not in text and "url(" not in text


def test_a_browser_is_told_to_refuse_scripts_and_requests(text):
    (policy,) = [a["content"] for tag, a in read(text).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "script" not in policy


def test_it_names_its_language_and_encoding(text):
    tags = read(text).tags
    assert ("html", {"lang": "en-GB"}) in tags and ("meta", {"charset": "utf-8"}) in tags


def test_every_picture_has_a_text_and_every_head_a_scope(text):
    tags = read(text).tags
    assert all(len(attributes["alt"]) > 60 for tag, attributes in tags if tag == "img")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")
    assert [tag for tag, _ in tags].count("caption") == [tag for tag, _ in tags].count("table")


def test_what_the_user_named_is_shown_and_never_obeyed(specimen):
    name = "<script>alert('x')</script>&\"quoted\""
    stopped = dataclasses.replace(specimen.entries[2], failure=f"{name} failed")
    config = {**specimen.config, "data": name, "command": ["neurodecorr", "compare", "--data", name]}
    entries = (*specimen.entries[:2], stopped, *specimen.entries[3:])
    reader = read(page(dataclasses.replace(specimen, dataset=name, config=config, entries=entries), PICTURES))
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "".join(reader.words).count("<script>alert('x')</script>") >= 4


def test_it_follows_the_readers_light_and_prints(text):
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_the_command_that_was_run_is_repeated(specimen):
    config = {**specimen.config, "command": ["neurodecorr", "compare", "--data", "my photos"]}
    assert "neurodecorr compare --data &#39;my photos&#39;" in page(dataclasses.replace(specimen, config=config), {})


def test_a_comparison_made_in_python_is_repeated_in_python(specimen):
    found = re.search(r"<pre><code>(.*?)</code></pre>", page(specimen, {}), re.DOTALL)
    assert "nd.compare(" in found[1] and "rate=0.001" in found[1] and "seed=7" in found[1]


def test_versions_and_seed_are_told(specimen):
    text = page(specimen, {})
    assert f"numpy {specimen.provenance['versions']['numpy']}" in text and ">7<" in text
