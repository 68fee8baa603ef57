"""Pages: one self-contained HTML file each, with the look and the guards that all of them share."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any
from xml.etree import ElementTree as ET


def tag(name: str, *children: Any, **attributes: Any) -> ET.Element:
    """Build an element; the serializer escapes, so that no call site can forget to.

    Parameters
    ----------
    name : str
    *children : Element or object
        Elements, and anything else as its text.
    **attributes : object
        ``class_`` is written ``class``, other underscores as hyphens.
    """
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    node = ET.Element(name, {names[key]: str(value) for key, value in attributes.items()})
    for child in children:
        if isinstance(child, ET.Element):
            node.append(child)
        elif len(node):
            node[-1].tail = (node[-1].tail or "") + str(child)
        else:
            node.text = (node.text or "") + str(child)
    return node


def markup(*nodes: ET.Element) -> str:
    """Return elements as HTML, one per line."""
    return "\n".join(ET.tostring(node, encoding="unicode", method="html") for node in nodes)


def embedded_json(data: Any) -> str:
    """Return data as JSON that may stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # every "<", since "<!--<script>" too would change where the element ends
    return text.replace("<", "\\u003c")


def render(
    package: str,
    *,
    title: str,
    data: Any,
    library: str = "",
    scripts: Sequence[str] = ("page.js",),
    **parts: str,
) -> str:
    """Fill ``page.html`` of a package, with ``page.css`` and its scripts after those shared by all.

    Parameters
    ----------
    package : str
        As imported: ``"kexue.graph"``.
    title : str
        Plain text; escaped here.
    data : object
        What the script reads from the element ``data``, as JSON.
    library : str
        A script that runs before the page's own.
    scripts : sequence of str
        The package's own, in their order.
    **parts : str
        Markup by its name in ``page.html``.

    Returns
    -------
    str
        The document. Its content security policy lists the scripts by their hash, so that
        nothing else on the page can run, and nothing can call out.
    """
    script = _asset("kexue._core", "page.js") + "".join(_asset(package, name) for name in scripts)
    digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in (library, script) if text)
    document = Template(_asset(package, "page.html")).substitute(
        hashes=" ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests),
        style=_asset("kexue._core", "page.css") + _asset(package, "page.css"),
        library=library,
        script=script,
        title=html.escape(title),
        data=embedded_json(data),
        **parts,
    )
    # a lone surrogate, which a damaged file can hold, has no bytes in UTF-8
    return document.encode("utf-8", "replace").decode("utf-8")


def _asset(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
