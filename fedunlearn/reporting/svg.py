"""SVG elements as text. Colours come from the style sheet, so that light and dark pages use the same drawing."""

from markupsafe import Markup, escape


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


def tooltip(text: str) -> Markup:
    """Return what a pointer resting on the surrounding element shows."""
    return element("title", text)


def _text(value: object) -> Markup:
    return escape(f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value)
