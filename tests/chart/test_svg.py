"""Curves as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from seedbed.chart.axes import FAINT, Line
from seedbed.chart.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def test_the_svg_shows_each_line_with_axes_and_legend() -> None:
    training = Line("training <loss>", range(500), [5 / (1 + x / 50) for x in range(500)], [1.0] * 500, [4.0] * 500)
    validation = Line("validation loss", [100, 200, 499], [3.0, 2.0, 1.5])
    picture = svg([training, validation], title='a "b" & <c>', x_label="step", y_label="loss")
    assert picture is not None
    root = ET.fromstring(picture)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {'a "b" & <c>', "training <loss>", "validation loss", "step", "loss", "100", "5"} <= set(texts)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    lines = list(root.iter(f"{SVG}polyline"))
    assert len(lines) == 2
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    ys = [float(pair.split(",")[1]) for pair in lines[0].attrib["points"].split()]
    assert ys == sorted(ys), "a falling loss must go down the page, where y grows"
    assert "prefers-color-scheme: dark" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", ""), "it loads something from elsewhere"


def test_a_faint_series_has_a_band_but_no_line_and_no_legend() -> None:
    x, y = range(100), [1.0 + step % 3 for step in range(100)]
    faint = Line("", x, y, [each - 0.5 for each in y], [each + 0.5 for each in y], series=FAINT)
    drawn = svg([faint, Line("smooth", x, [2.0] * 100, series=0)], title="t", x_label="step", y_label="loss")
    assert drawn is not None
    root = ET.fromstring(drawn)
    assert [each.get("class") for each in root.iter(f"{SVG}polygon")] == ["band f0"]
    assert [each.get("class") for each in root.iter(f"{SVG}polyline")] == ["line s0"]
    assert [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "legend"] == ["smooth"]
