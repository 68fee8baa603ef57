"""The page of a real atlas in a real browser, every host blocked."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_of_the_novel(novel, browser, tmp_path, width, dark):
    _, folder = novel
    with browser.open_page(folder / "atlas.html", width=width, dark=dark) as driver:
        browser.assert_quiet(driver)
        assert browser.sideways(driver) == 0
        browser.screenshot(driver, tmp_path / "page.png")
        find = driver.find_element("css selector", "#query")
        find.send_keys("黛玉")
        table = driver.find_element("id", "words").text
        assert "黛玉" in table
        assert "王夫人" not in table
        seek = driver.find_element("css selector", "#seek")
        seek.send_keys("黛玉\n")
        zoom = "return Number(document.documentElement.dataset.mapZoom)"
        assert driver.execute_script(zoom) > 2
        assert "黛玉" in driver.find_element("css selector", "#card").text
        browser.assert_quiet(driver)
    assert Path(tmp_path / "page.png").stat().st_size > 50_000
