"""SVG elements as text. Colours come from the style sheet, so that light and dark pages use the same drawing."""

from markupsafe import Markup, escape

WIDTH = 640.0  # of a chart; narrower pages scale it down


def element(name: str, content: str = "", **attributes: object) -> Markup:
    """Return one element; an attribute's underscores become hyphens, its trailing one is dropped; numbers are rounded.

    Example:
        >>> element("text", "a < b", x=1.0, class_="axis")
        Markup('<text x="1" class="axis">a &lt; b</text>')
    """
    spelled = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    inner = escape(content)
    return Markup(f"<{name}{spelled}>{inner}</{name}>" if inner else f"<{name}{spelled}/>")


def join(parts: list[Markup]) -> Markup:
    """Return elements one after another."""
    return Markup("").join(parts)


def drawing(width: float, height: float, parts: list[Markup], label: str) -> Markup:
    """Return the whole picture; `label` is what a screen reader says."""
    box = f"0 0 {width:g} {height:g}"
    style = f"max-width:{width:g}px"
    return element("svg", join(parts), viewBox=box, style=style, role="img", aria_label=label)


def document(width: float, height: float, parts: list[Markup], title: str, style: str, label: str) -> str:
    """Return a picture as the text of an SVG file: the title above it, the style sheet inside."""
    top = 38.0
    inside = [
        element("style", Markup(style)),
        element("rect", width=width, height=height + top, class_="paper"),
        element("text", title, x=18.0, y=26.0, class_="heading"),
        element("g", join(parts), transform=f"translate(0 {top:g})"),
    ]
    box = f"0 0 {width:g} {height + top:g}"
    space = "http://www.w3.org/2000/svg"
    size = {"width": width, "height": height + top, "viewBox": box}
    return str(element("svg", join(inside), xmlns=space, **size, role="img", aria_label=label)) + "\n"


def tooltip(text: str) -> Markup:
    """Return what a pointer resting on the surrounding element shows."""
    return element("title", text)


def ticks(first: int, last: int) -> list[int]:
    """Return at most about 12 round numbers from `first` to `last`.

    Example:
        >>> ticks(1, 5), ticks(1, 157)
        ([1, 2, 3, 4, 5], [20, 40, 60, 80, 100, 120, 140])
    """
    step = next(size * 10**power for power in range(20) for size in (1, 2, 5) if (last - first) / size / 10**power < 12)
    return list(range(-(-first // step) * step, last + 1, step))


def _text(value: object) -> Markup:
    return escape(f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value)
