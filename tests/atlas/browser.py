"""Headless Chromium for the tests of pages: every host blocked, every complaint kept."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # a page that needs a host must fail here as it would on a train
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
INNER = ("file:", "data:", "blob:", "about:")


@contextmanager
def open_page(
    path: Path,
    width: int = 1440,
    height: int = 900,
    *,
    dark: bool = False,
    flags: tuple[str, ...] = (),
) -> Iterator[Any]:
    """Yield a selenium driver that shows the file at `path`; skip where Chromium is absent.

    `flags` go to Chromium: ``--disable-3d-apis`` takes WebGL away.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        pytest.skip("Chromium and chromedriver are not both on PATH (Debian: chromium-driver)")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(executable_path=driver_path)
        )
        try:
            resize(driver, width, height)
            set_dark(driver, dark)
            # the window's own first page (a home page of the distribution) is not ours
            driver.get("about:blank")
            driver.get_log("browser")
            driver.get_log("performance")
            driver.get(path.resolve().as_uri())
            yield driver
        finally:
            driver.quit()


def resize(driver: Any, width: int, height: int = 900) -> None:
    """Set the size of the page; headless windows refuse to be as narrow as a phone."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def set_dark(driver: Any, dark: bool) -> None:
    """Prefer a dark or a light page, as a reader's system would."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    # a page that scrolls and zooms at once is a page whose state a test can ask for
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})


def assert_quiet(driver: Any) -> None:
    """Fail on a console error, a failed request, or a request that leaves the file."""
    errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        assert message["method"] != "Network.loadingFailed", message["params"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert url.startswith(INNER), url


def sideways(driver: Any) -> int:
    """Return by how many pixels the page is wider than its window."""
    return driver.execute_script(
        "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    )


def screenshot(driver: Any, path: Path, *, full: bool = True) -> None:
    """Write a PNG of the window, or of the full page."""
    answer = driver.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"format": "png", "captureBeyondViewport": full, **_clip(driver, full)},
    )
    path.write_bytes(base64.b64decode(answer["data"]))


def _clip(driver: Any, full: bool) -> dict[str, Any]:
    if not full:
        return {}
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
