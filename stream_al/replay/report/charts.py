"""Charts as inline SVG: matplotlib draws, the page's style sheet colours.

No text of anybody else's gets into a chart: what its lines are called stands in a legend of
HTML, which wraps, is escaped, and can be read out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from stream_al.errors import ConfigError
from stream_al.replay.report.elements import Child, Markup, element, markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["INK", "MUTED", "SERIES", "Series", "chart", "require_matplotlib", "series"]

# Colours that nothing else in a drawing has; each becomes a variable of the style sheet.
INK: Final = "#010101"
MUTED: Final = "#010102"
_RULE: Final = "#010103"
_GRID: Final = "#010104"
SERIES: Final = tuple(f"#0101{number:02x}" for number in range(17, 23))
_VARIABLES = {INK: "ink", MUTED: "muted", _RULE: "rule", _GRID: "grid"} | {
    colour: f"s{number}" for number, colour in enumerate(SERIES, 1)
}

_DASHES: Sequence[tuple[float, ...]] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 3), (10, 3))
_MARKERS = "osD^vX"
_WIDTH, _HEIGHT = 5.2, 3.1
_FONT = 11.0
# Any: which keys there are is typed otherwise by each version of matplotlib.
_PARAMETERS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": _FONT,
    "axes.unicode_minus": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
}
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Series:
    """One of several lines: told apart by colour, dashes and marker, so that grey print does.

    Attributes
    ----------
    name
        As the legend has it.
    colour, dashes, marker
        As matplotlib takes them.
    """

    def __init__(self, name: Child, number: int) -> None:
        self.name = name
        self.colour = SERIES[number % len(SERIES)]
        self.dashes = _DASHES[(number + number // len(SERIES)) % len(_DASHES)]
        self.marker = _MARKERS[number % len(_MARKERS)]

    @property
    def style(self) -> dict[str, object]:
        """Keyword arguments of a line."""
        return {"color": self.colour, "linestyle": (0, self.dashes) if self.dashes else "-"}

    def key(self) -> Markup:
        """Draw the line as the legend shows it, with its name."""
        dashes = " ".join(f"{dash * 1.8:g}" for dash in self.dashes) or None
        line = element(
            "path",
            d="M0 5H30",
            fill="none",
            stroke_width="2.5",
            style=f"stroke:var(--{_VARIABLES[self.colour]})",
            stroke_dasharray=dashes,
        )
        drawn = element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")
        return element("li", drawn, self.name)


def series(*names: Child) -> list[Series]:
    """Name the lines of a chart, in order."""
    return [Series(name, number) for number, name in enumerate(names)]


def require_matplotlib() -> None:
    """See that charts can be drawn.

    Raises
    ------
    ConfigError
        If matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401 - most runs draw nothing
    except ImportError as error:
        what = "needs matplotlib: pip install 'stream-al[report]'"
        raise ConfigError(what, "--report") from error


def chart(
    name: str,
    draw: Callable[[Axes], None],
    *,
    title: str,
    told: Child,
    lines: Sequence[Series] = (),
    height: float = _HEIGHT,
) -> Markup:
    """Draw a chart with its title, its message and its legend.

    Parameters
    ----------
    name
        Different for each chart of a page.
    draw
        Draws it, in the colours of this module.
    title, told
        What it shows; what is to be seen in it.
    lines
        What the legend names.
    height
        In inches of a chart 5.2 wide.
    """
    caption = element("figcaption", element("b", title), element("small", told))
    legend = element("ul", [line.key() for line in lines], class_="legend") if lines else ""
    return element("figure", caption, legend, _svg(name, title, draw, height), id=f"chart-{name}")


def _svg(name: str, title: str, draw: Callable[[Axes], None], height: float) -> Markup:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # Whatever the reader's own matplotlibrc says, the same run gives the same bytes.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_PARAMETERS, "svg.hashsalt": name})
        figure = Figure(figsize=(_WIDTH, height))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.tick_params(length=3)
        draw(axes)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata=_METADATA, transparent=True)
    return _inline(out.getvalue().decode(), title)


def _inline(drawn: str, title: str) -> Markup:
    """Make a drawing a part of a page: no prolog, no size, no ids but what it refers to itself."""
    body = drawn[drawn.index("<svg") :]
    box = re.search(r'viewBox="[^"]+"', body)
    inside = body[body.index(">") + 1 : body.rindex("</svg>")]
    inside = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", inside, flags=re.S)
    inside = re.sub(r'<g id="[^"]+_\d+"', "<g", inside)
    inside = re.sub(r"font-family: [^;\"]+;? ?", "", inside)
    inside = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", inside)
    inside = re.sub(r"\s*\n\s*", " ", inside)
    for colour, variable in _VARIABLES.items():
        inside = inside.replace(colour, f"var(--{variable})")
    label = markup(title)
    opened = f'<svg class="chart" role="img" aria-label="{label}" {box.group() if box else ""}'
    return Markup(f"{opened}>{inside}</svg>")
