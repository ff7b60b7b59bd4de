"""The page of an analysis in a real browser: labels, sound, and names that would be code."""

import numpy as np
import pytest
import soundfile
from browser import CHROMIUM, Browser
from encoder_analysis.clips import make_clips
from encoder_analysis.page import Points, write_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium in PATH (Debian: apt-get install chromium)"
    ),
]

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>%{x}'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    soundfile.write(folder / "a.wav", np.sin(np.arange(48000) / 9) / 9, 16000)
    points = Points(
        places=np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]),
        ids=["a", "b", "c"],
        files=["wav/a.wav", "wav/b.wav", HOSTILE],
        languages=["spa", "spa", "tam"],
        speakers=["Ana", HOSTILE, ""],
        groups=["Italic", "Italic", "Dravidian"],
    )
    clips = make_clips({"a": {"wav": str(folder / "a.wav")}})
    write_page(folder / "map.html", HOSTILE, points, clips, ["Dravidian", "Italic"])
    return folder / "map.html"


@pytest.fixture(scope="module")
def browser(page):
    with Browser() as browser:
        browser.call("Page.navigate", url=page.as_uri())
        browser.wait("document.querySelectorAll('#map .points path').length === 3")
        yield browser


def point_to(browser, point):
    """The mouse over a point; the text of the label that appears."""
    browser.mouse("mouseMoved", 5, 5)
    browser.wait("!document.querySelector('#map .hovertext')")
    x, y = browser.run(f"""(() => {{
        const drawn = map._fullData.flatMap(trace => trace.customdata.map(cells => cells[3]));
        const paths = document.querySelectorAll('#map .points path');
        const box = paths[drawn.indexOf({point})].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }})()""")
    browser.mouse("mouseMoved", x - 1, y)
    browser.mouse("mouseMoved", x, y)
    text = browser.wait("document.querySelector('#map .hovertext')?.textContent")
    return text, (x, y)


def click(browser, place):
    for kind in ("mousePressed", "mouseReleased"):
        browser.mouse(kind, *place, button="left", clickCount=1)


def test_a_point_says_what_it_is(browser):
    text, _ = point_to(browser, 0)
    assert "wav/a.wav" in text and "language spa" in text and "speaker Ana" in text


def test_a_click_plays(browser):
    click(browser, point_to(browser, 0)[1])
    assert browser.wait("now.textContent") == "▶ wav/a.wav (spa, speaker Ana)"
    browser.wait("audio.currentTime > 0")
    assert browser.run("audio.error") is None


def test_a_point_without_sound_says_so(browser):
    click(browser, point_to(browser, 2)[1])
    assert browser.wait("now.textContent.includes('no sound')")


def test_hostile_names_are_text(browser):
    text, place = point_to(browser, 1)
    assert "<img src=x onerror=" in text
    click(browser, place)
    assert browser.wait("now.textContent.includes('<img')")
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    assert browser.run("document.title") == HOSTILE
    assert browser.run("document.querySelectorAll('img[src=x], script').length") == 3
    assert browser.run("window.hacked") is None


def test_a_script_that_got_in_would_not_run(browser):
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=hacked=1>')")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run("window.hacked") is None
    browser.problems = [p for p in browser.problems if "Content Security Policy" not in str(p)]


def test_on_a_phone_the_map_has_the_whole_width(browser, page):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **phone)
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait("document.querySelectorAll('#map .points path').length === 3")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    shapes = [
        browser.run(f"document.querySelector('#map {part}').getBoundingClientRect().toJSON()")
        for part in (".scatterlayer", ".legend")
    ]
    assert shapes[0]["bottom"] <= shapes[1]["top"]


def test_nothing_went_wrong(browser):
    assert browser.problems == []
