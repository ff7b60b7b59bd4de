"""The map of utterances as one HTML file: hovering describes a point, and a click plays it."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder_analysis.clips import MIME
from encoder_analysis.colours import styles
from encoder_analysis.tsne import name_places
from masr_modules.config.extras import extra
from masr_modules.config.files import write_atomic

with extra("report"):
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

_LONGEST = 80  # largest number of characters of a name in a hover label

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0; }
#map { width: 100%; height: min(80vh, 52rem); min-height: 24rem; }
#now { min-height: 1.5em; font-weight: 600; overflow-wrap: anywhere; }
"""

# Names are set as text, never as HTML.
_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const map = document.getElementById("map");
const now = document.getElementById("now");
let audio = null;
function play(point) {
  const [text, clip] = data.points[point];
  if (audio) audio.pause();
  if (clip < 0) { now.textContent = text + ": no sound on this page"; return; }
  audio = new Audio(data.mime + data.clips[clip]);
  now.textContent = "\\u25b6 " + text;
  audio.play().catch(error => { now.textContent = text + ": cannot be played: " + error; });
}
const buttons = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];
const settings = {responsive: true, displaylogo: false, modeBarButtons: buttons};
// On a phone the legend lies below the map, which needs the width.
const below = {orientation: "h", x: 0, y: 0, yanchor: "top", title: {text: ""}};
if (map.clientWidth < 600) Object.assign(data.figure.layout.legend, below);
Plotly.newPlot(map, data.figure.data, data.figure.layout, settings)
  .then(() => map.on("plotly_click", event => play(event.points[0].customdata[3])));
"""


@dataclass
class Points:
    """The points that the page shows.

    Arguments
    ---------
    places : np.ndarray
        (N, 2) coordinates.
    ids, files, languages, speakers : sequence of str
        ID, file, language and speaker of each point, which may be any text.
    groups : sequence of str
        Group of each point, which gives its colour.
    """

    places: np.ndarray
    ids: Sequence[str]
    files: Sequence[str]
    languages: Sequence[str]
    speakers: Sequence[str]
    groups: Sequence[str]


def write_page(
    path: str | Path, title: str, points: Points, clips: Mapping[str, str], order: Sequence[str]
) -> None:
    """Writes the page, which needs no network and allows no scripts but its own two.

    Arguments
    ---------
    path : str or Path
        Path of the HTML file.
    title : str
        Heading of the page.
    points : Points
        Points to show.
    clips : mapping of str to str
        ID -> clip, from `encoder_analysis.clips.make_clips`.
    order : sequence of str
        The groups, in the order of the legend.
    """
    numbers = {utterance: i for i, utterance in enumerate(clips)}
    texts = [
        f"{file} ({language}, speaker {speaker or 'not known'})"
        for file, language, speaker in zip(
            points.files, points.languages, points.speakers, strict=True
        )
    ]
    data = {
        "figure": json.loads(_figure(points, numbers.keys(), order).to_json()),
        "points": [[t, numbers.get(i, -1)] for t, i in zip(texts, points.ids, strict=True)],
        "clips": list(clips.values()),
        "mime": f"data:{MIME};base64,",
    }
    write_atomic(path, _page(title, len(points.ids), len(clips), data))


def _page(title: str, count: int, sounding: int, data: dict) -> str:
    library = get_plotlyjs()
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in (library, _SCRIPT))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src data:"
    )
    # "<" must not end the element that holds the data.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{count} utterances by t-SNE: neighbours are alike, distances between groups say nothing. Filled
points ({sounding}) play on a click; a click in the legend hides a group, two show it alone.</p>
<div id="map"></div>
<p id="now" aria-live="polite"></p>
<script type="application/json" id="data">{text}</script>
<script>{library}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _figure(points: Points, sounding: Sequence[str], order: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    groups = np.array(points.groups)
    for group, (colour, (_, shape)) in styles(dict(zip(order, order, strict=True))).items():
        members = np.flatnonzero(groups == group)
        if not len(members):
            continue
        sounds = [points.ids[i] in sounding for i in members]
        figure.add_scatter(
            x=points.places[members, 0].round(2).tolist(),
            y=points.places[members, 1].round(2).tolist(),
            mode="markers",
            name=group,
            marker={
                "color": colour,
                "symbol": [shape if sound else f"{shape}-open" for sound in sounds],
                "size": [9 if sound else 6 for sound in sounds],
                "opacity": [0.9 if sound else 0.5 for sound in sounds],
            },
            customdata=[
                [_shown(points.files[i]), points.languages[i], _shown(points.speakers[i]), int(i)]
                for i in members
            ],
            hovertemplate="%{customdata[0]}<br>language %{customdata[1]}"
            "<br>speaker %{customdata[2]}<extra></extra>",
        )
    figure.update_layout(
        template="plotly_white",
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        xaxis={"visible": False},
        yaxis={"visible": False, "scaleanchor": "x"},
        hovermode="closest",
        legend={"title": {"text": "descent"}, "itemsizing": "constant"},
    )
    _name_languages(figure, points)
    return figure


def _name_languages(figure: go.Figure, points: Points) -> None:
    """Writes the code of each language where its points are densest."""
    for language, (x, y) in name_places(points.places, np.array(points.languages)).items():
        figure.add_annotation(
            x=round(x, 2),
            y=round(y, 2),
            text=html.escape(language),
            showarrow=False,
            bgcolor="rgba(255,255,255,0.75)",
            font={"size": 13, "color": "#1a1a1a"},
            captureevents=False,
        )


def _shown(name: str) -> str:
    """Returns text for a hover label, shortened and escaped, as labels interpret HTML."""
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return html.escape(short) or "not known"
