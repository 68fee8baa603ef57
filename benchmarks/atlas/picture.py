"""The picture of the README: ``python -m benchmarks.atlas.picture FOLDER [out.png]``.

Puts the headline, the staircase and the map of an atlas's page beside each other, as Chromium
draws them; it must be on the PATH, and chromedriver too.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
MARGIN, GAP, LEFT, HIGH, WIDE = 40, 70, 1164, 1240, 1800  # pixels, two to one of the page
READY = "return document.documentElement.dataset.mapStill !== 'false'"


def main(folder: Path, path: Path) -> None:
    """Draw the picture of the atlas in a folder."""
    spec: Any = importlib.util.spec_from_file_location(
        "browser", ROOT / "tests" / "atlas" / "browser.py"
    )
    browser = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(browser)
    with browser.open_page(folder / "atlas.html", width=1440) as driver:
        metrics = {"width": 1440, "height": 900, "deviceScaleFactor": 2, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_script("document.querySelector('#chart').scrollIntoView()")
        WebDriverWait(driver, 20).until(lambda d: d.execute_script(READY))
        head, stairs, chart = (shot(driver, name) for name in (".headline", ".staircase", "#chart"))
    chart = chart.resize((round(chart.width * HIGH / chart.height), HIGH), Image.Resampling.LANCZOS)
    head = head.resize((LEFT, round(head.height * LEFT / head.width)), Image.Resampling.LANCZOS)
    size = (LEFT + GAP + chart.width + 2 * MARGIN, HIGH + 2 * MARGIN)
    sheet = Image.new("RGB", size, head.getpixel((2, 2)))
    sheet.paste(head, (MARGIN, MARGIN))
    sheet.paste(stairs, (MARGIN, MARGIN + HIGH - stairs.height))
    sheet.paste(chart, (MARGIN + LEFT + GAP, MARGIN))
    small = sheet.resize((WIDE, round(sheet.height * WIDE / sheet.width)), Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def shot(driver: Any, selector: str) -> Image.Image:
    """Return the picture of one element."""
    place = (
        "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [r.x + scrollX - 4, r.y + scrollY - 4, r.width + 8, r.height + 8]"
    )
    box = driver.execute_script(place, selector)
    clip = {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    answer = driver.execute_cdp_cmd("Page.captureScreenshot", options)
    return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    main(given[0], given[1] if len(given) > 1 else ROOT / "docs" / "atlas" / "demo.png")
