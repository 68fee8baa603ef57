"""The page of a partition in a real browser, every host blocked."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kexue.graph import Network
from kexue.graph.flow import entropy, network_flow
from kexue.graph.hierarchy import price_tree
from kexue.graph.page import render_page

pytestmark = pytest.mark.browser

# tests are imported one by one (importmode importlib), so a neighbour is loaded by its path
_spec = importlib.util.spec_from_file_location(
    "browser", Path(__file__).parents[1] / "atlas" / "browser.py"
)
browser = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(browser)

HOSTILE = ["</script><img src=x onerror=window.hurt=1>", "<b>\"'&amp;", "مرحبا", "👍🏽", "\ud800"]


def write(path, network, parent, leaf, model="undirected"):
    walk = network_flow(network, model, 0.15)
    tree = price_tree(network, walk, np.asarray(parent), np.asarray(leaf))
    inner, nodes = (
        np.bincount(tree.depth, tree.codelength * kind, tree.n_levels).tolist()
        for kind in (~tree.is_leaf, tree.is_leaf)
    )
    counts = np.bincount(tree.depth).tolist()
    page = render_page(
        tree,
        network,
        walk,
        title=HOSTILE[0] if network.names else "A network",
        codelength=float(tree.codelength.sum()),
        one_level_codelength=entropy(walk.node),
        ledger=list(zip(range(tree.n_levels), counts, inner, nodes, strict=True)),
        facts=[("seed", "0")],
    )
    path.write_text(page, encoding="utf-8")
    return path


def blocks(n, branching, directed=False, names=None):
    """Links mostly near, modules by position; every level divides by `branching`."""
    rng = np.random.default_rng(0)
    parent, level = [-1], [0]
    for width in branching:
        first = len(parent)
        parent += np.repeat(level, width).tolist()
        level = list(range(first, len(parent)))
    leaf = np.array(level)[np.arange(n) * len(level) // n]
    source = rng.integers(0, n, 4 * n)
    target = (source + rng.integers(1, 20, 4 * n)) % n
    return Network.from_links(source, target, directed=directed, names=names), parent, leaf


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return pages of several shapes, by name."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(90)]
    return {
        "hostile": write(folder / "hostile.html", *blocks(90, (3, 3), names=hostile)),
        "directed": write(folder / "d.html", *blocks(3000, (25, 4), directed=True), "directed"),
        "deep": write(folder / "deep.html", *blocks(4000, (2,) * 8)),
        "many": write(folder / "many.html", *blocks(15_000, (5000,))),
        "single": write(folder / "single.html", *blocks(400, (1,))),
    }


def visible(driver, selector):
    found = driver.find_elements("css selector", selector)
    return [element for element in found if element.is_displayed()]


def assert_sound(driver):
    browser.assert_quiet(driver)
    assert browser.sideways(driver) == 0
    assert driver.execute_script("return window.hurt") is None


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["hostile", "directed", "deep", "many", "single"])
def test_pages_fit_and_are_quiet(pages, name, width, dark):
    with browser.open_page(pages[name], width=width, dark=dark) as driver:
        assert_sound(driver)
        assert visible(driver, "#icicle .block")
        assert visible(driver, "#map circle")
        inside = driver.execute_script(
            "const box = document.getElementById('map').getBoundingClientRect();"
            "return [...document.querySelectorAll('#map circle')].every((circle) => {"
            "  const c = circle.getBoundingClientRect();"
            "  return c.left > box.left - 4 && c.right < box.right + 4; })"
        )
        assert inside
        shade = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (shade == "rgb(23, 22, 19)") is dark


def test_a_graph_without_links_has_no_figures(tmp_path):
    network = Network.from_links([], [], n_nodes=3, directed=False)
    with browser.open_page(write(tmp_path / "e.html", network, [-1, 0], [1, 1, 1])) as driver:
        assert_sound(driver)
        assert not visible(driver, "#nested, #picture, #icicle")
        assert visible(driver, ".ledger")
        assert "NaN" not in driver.find_element("tag name", "body").text


def test_zoom_by_keyboard(pages):
    from selenium.webdriver.common.keys import Keys

    def focus():
        return driver.switch_to.active_element.get_attribute("aria-label")

    def detail():
        return driver.find_element("id", "detail").text

    with browser.open_page(pages["directed"]) as driver:
        stop = driver.find_elements("css selector", "#icicle [tabindex='0']")
        assert len(stop) == 1  # one stop of the tab key
        driver.execute_script("arguments[0].focus()", stop[0])
        keys = driver.switch_to
        keys.active_element.send_keys(Keys.ARROW_DOWN)
        assert focus().startswith("Module 1:")
        keys.active_element.send_keys(Keys.ARROW_RIGHT)
        assert focus().startswith("Module 2:")
        keys.active_element.send_keys(Keys.ENTER)
        assert detail().startswith("Module 2:")
        assert focus().startswith("Module 2:")
        assert driver.find_element("css selector", "#crumbs [aria-current]").text == "2"
        keys.active_element.send_keys(Keys.ARROW_DOWN)
        assert focus().startswith("Module 2:1:")
        keys.active_element.send_keys(Keys.ENTER)
        assert detail().startswith("Module 2:1:")
        keys.active_element.send_keys(Keys.ESCAPE)
        assert detail().startswith("Module 2:")
        assert focus().startswith("Module 2:1:")  # where one came from
        keys.active_element.send_keys(Keys.ESCAPE)
        assert detail().startswith("The whole network")
        assert focus().startswith("Module 2:")
        assert driver.find_element("id", "tip").is_displayed()
        keys.active_element.send_keys(Keys.ESCAPE)
        assert not driver.find_element("id", "tip").is_displayed()
        assert_sound(driver)


def test_zoom_by_pointer_and_crumbs(pages):
    with browser.open_page(pages["deep"]) as driver:
        driver.find_element("css selector", '.block[data-row="2"]').click()
        assert driver.find_element("id", "detail").text.startswith("Module 1:1:")
        crumbs = driver.find_elements("css selector", "#crumbs button")
        assert [crumb.text for crumb in crumbs] == ["All", "1"]
        crumbs[0].click()
        assert driver.find_element("id", "detail").text.startswith("The whole network")
        assert_sound(driver)


def test_narrow_modules_are_gathered_and_can_be_reached(pages):
    with browser.open_page(pages["many"], width=390) as driver:
        runs = driver.find_elements("css selector", ".block.run, .block.rest")
        assert runs
        assert len(runs) == len(driver.find_elements("css selector", '.block[data-row="1"]'))
        for _ in range(6):
            runs = driver.find_elements("css selector", ".block.run")
            if not runs:
                break
            runs[0].click()
        one = driver.find_element("css selector", '.block[data-row="1"]:not(.rest)')
        assert one.get_attribute("aria-label").startswith("Module 1:")
        assert_sound(driver)


def test_widths_are_flows(pages):
    with browser.open_page(pages["deep"]) as driver:
        widths = driver.execute_script(
            "return [...document.querySelectorAll('.block[data-row=\"3\"]')]"
            ".map((block) => [block.getAttribute('aria-label'), parseFloat(block.style.width)])"
        )
        for label, width in widths:
            share = float(label.split(": ")[1].split("\u00a0")[0])
            # the label is rounded to a per cent or a tenth
            assert width == pytest.approx(share, abs=0.51)
        assert sum(width for _, width in widths) == pytest.approx(100, abs=0.1)


def test_the_table_sorts_and_opens_modules(pages):
    from selenium.webdriver.common.keys import Keys

    def column(k):
        return driver.execute_script(
            "return [...document.querySelectorAll('#rows tr')]"
            ".map((row) => Number(row.children[arguments[0]].dataset.value))",
            k,
        )

    with browser.open_page(pages["directed"]) as driver:
        heads = driver.find_elements("css selector", "#heads th")
        buttons = driver.find_elements("css selector", "#heads button")
        assert len(buttons) == 4
        for k in range(1, 4):
            buttons[k].send_keys(Keys.ENTER)
            assert heads[k].get_attribute("aria-sort") == "descending"
            assert column(k) == sorted(column(k), reverse=True)
            buttons[k].send_keys(Keys.SPACE)
            assert heads[k].get_attribute("aria-sort") == "ascending"
            assert column(k) == sorted(column(k))
        buttons[0].click()
        assert column(0) == list(range(25))
        assert len(visible(driver, "#rows tr")) == 20
        driver.find_element("id", "more").click()
        assert len(visible(driver, "#rows tr")) == 25
        driver.find_elements("css selector", "#rows th button")[2].click()
        assert driver.find_element("id", "detail").text.startswith("Module 3:")
        assert_sound(driver)


def test_the_picture_names_neighbours(pages):
    from selenium.webdriver.common.keys import Keys

    with browser.open_page(pages["directed"]) as driver:
        # a headless window has no focus of its own
        driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        first = driver.find_element("css selector", "#map [tabindex='0']")
        driver.execute_script("arguments[0].focus()", first)
        tip = driver.find_element("id", "tip")
        assert "Strongest neighbours:" in tip.text
        before = tip.text
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        assert tip.text != before
        assert driver.find_elements("css selector", "#map .wire.lit")
        driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not tip.is_displayed()
        assert_sound(driver)


def test_names_of_a_node_picture_do_not_overlap(data, tmp_path):
    from kexue.graph import read_graph

    network = read_graph(data("graphs/football.edges.tsv.gz"))
    with gzip.open(data("graphs/football.nodes.tsv.gz"), "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    names, labels = [row[1] for row in rows], np.array([int(row[2]) for row in rows])
    named = Network.from_links(network.source, network.target, directed=False, names=names)
    page = write(tmp_path / "football.html", named, [-1, *[0] * 12], labels + 1)
    with browser.open_page(page) as driver:
        overlaps = driver.execute_script(
            "const boxes = [...document.querySelectorAll('#map text')]"
            "  .map((text) => text.getBoundingClientRect());"
            "return boxes.filter((a, i) => boxes.some((b, j) => j < i && a.left < b.right - 2 &&"
            "  b.left < a.right - 2 && a.top < b.bottom - 5 && b.top < a.bottom - 5)).length"
        )
        assert overlaps == 0
        assert len(driver.find_elements("css selector", "#map text")) > 60
        browser.screenshot(driver, tmp_path / "football.png")
    assert (tmp_path / "football.png").stat().st_size > 50_000


def test_without_javascript_the_tables_remain(pages):
    with browser.open_page(pages["hostile"]) as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        driver.get(pages["hostile"].as_uri())
        assert visible(driver, "#rows tr")
        assert visible(driver, ".ledger tr")
        assert visible(driver, "noscript p")
        assert not visible(driver, "#icicle, #map")
