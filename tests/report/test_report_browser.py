"""The report in a browser: nothing fails in it, the viewer does what it says, and axe finds no serious fault."""

from __future__ import annotations

import shutil

import pytest
from report_pages import HOSTILE, small_report

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the report in"),
    pytest.mark.xdist_group("browser"),
]

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(small_report()[2], encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens the page; whatever it complains about, and whatever it asks the network for, fails the test."""
    complaints, contexts = [], []

    def open_page(**options):
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
        )
        page.goto(address)
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def settle(page):
    page.wait_for_selector("#panes[aria-busy=false]")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def pictures(page) -> dict[str, str]:
    """What each pane shows, by its description."""
    script = "all => Object.fromEntries(all.map(c => [c.getAttribute('aria-label'), c.toDataURL()]))"
    return page.eval_on_selector_all("#panes canvas[data-kind]", script)


def pixel(page, nth: int, x: float, y: float) -> list[int]:
    """Colour of a canvas at a place given as fractions."""
    script = """(all, [nth, x, y]) => {
        const c = all[nth];
        const at = [Math.floor(x * c.width), Math.floor(y * c.height)];
        return [...c.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
    }"""
    return page.eval_on_selector_all("#panes canvas[data-kind]", script, [nth, x, y])


def until(page, condition: str) -> None:
    """Wait for a condition; Playwright's own waiting is program text, which the page's policy refuses."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def text(page, selector) -> str:
    return page.locator(selector).inner_text()


def open_volume(page, name, rate):
    page.select_option("#view-volume", label=f"{name} · {rate}")
    settle(page)


def test_a_hostile_name_is_shown_and_does_nothing(opened):
    page = opened()
    open_volume(page, HOSTILE, "3×")
    assert HOSTILE in text(page, "#view-caption")
    assert "mri-recon report" in page.title()
    assert page.locator("img").count() == 0


def test_volume_and_slice_are_chosen_by_list_slider_and_keys(opened):
    page = opened()
    open_volume(page, "one.h5", "3×")
    page.locator("#panes").focus()
    first = pictures(page)
    factor = page.input_value("#view-factor")
    assert [label.split(",")[0] for label in first] == [
        "target",
        "zero-filled",
        f"Error of zero-filled times {factor}",
        "sense",
        f"Error of sense times {factor}",
    ]
    assert len(set(first.values())) == 5
    assert text(page, "#view-slice-text") == "0"
    press(page, "ArrowRight", "ArrowRight")
    assert text(page, "#view-slice-text") == "2"
    assert all("slice 2" in label for label in pictures(page))
    assert not set(pictures(page).values()) & set(first.values())
    press(page, "ArrowRight")
    assert text(page, "#view-slice-text") == "2"
    page.locator("#view-slice").fill("1")
    settle(page)
    assert text(page, "#view-slice-text") == "1"
    # The scores under a method's name are those of the slice.
    _, gallery, _ = small_report()
    entry = next(e for e in gallery.entries if e.name == "one.h5" and e.mask.acceleration == 3)
    shown = text(page, "#panes .pane[data-method=sense] .what")
    assert shown == f"SSIM {entry.scores['sense'].ssim[1]:.3f} · {entry.scores['sense'].psnr[1]:.1f} dB"
    page.locator("#panes").focus()
    before = page.input_value("#view-volume")
    press(page, "ArrowDown")
    assert page.input_value("#view-volume") != before
    press(page, "ArrowUp")
    assert page.input_value("#view-volume") == before


def test_zoom_and_moves_follow_in_all_panes(opened):
    page = opened()
    open_volume(page, "one.h5", "3×")
    whole = pictures(page)
    page.locator("#panes").focus()
    press(page, "+", "+")
    zoomed = pictures(page)
    assert text(page, "#view-zoom-text") == "2.3×"
    assert list(zoomed) == list(whole)
    assert all(zoomed[label] != whole[label] for label in whole)
    # A drag in one pane moves every one.
    box = page.locator("#panes canvas[data-kind]").nth(1).bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 70, steps=3)
    page.mouse.up()
    dragged = pictures(page)
    assert all(dragged[label] != zoomed[label] for label in whole)
    # The wheel zooms about the pointer, now that a pane was clicked; the same part is shown by every pane.
    page.mouse.wheel(0, -400)
    until(page, "document.getElementById('view-zoom-text').textContent !== '2.3×'")
    press(page, "Shift+ArrowLeft", "0")
    assert pictures(page) == whole


def test_the_wheel_over_an_untouched_viewer_scrolls_the_page(opened):
    page = opened()
    page.locator("#panes").scroll_into_view_if_needed()
    page.locator("#panes canvas[data-kind]").first.hover()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, -200)
    until(page, f"scrollY < {before}")
    assert text(page, "#view-zoom-text") == "1.0×"


def test_swipe_shows_one_method_beside_another(opened):
    page = opened()
    open_volume(page, "one.h5", "3×")
    page.click("[data-view-show=images]")
    page.locator("#panes").focus()
    press(page, "s")
    assert page.locator("#panes canvas[data-kind]").count() == 1
    assert page.input_value("#swipe-a") == "zero-filled"
    assert page.input_value("#swipe-b") == "sense"
    page.locator("#swipe-divider").fill("100")
    left = next(iter(pictures(page).values()))
    page.locator("#swipe-divider").fill("0")
    right = next(iter(pictures(page).values()))
    assert left != right
    page.locator("#panes").focus()
    press(page, "x")
    assert page.input_value("#swipe-a") == "sense"
    page.locator("#swipe-divider").fill("100")
    # All of the left side again, which is now what the right was; the divider itself is at the other edge.
    assert pixel(page, 0, 0.5, 0.2) != [255, 255, 255]
    # The divider follows the pointer.
    box = page.locator("#panes canvas[data-kind]").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 10)
    assert page.input_value("#swipe-divider") == "25"
    page.locator("#panes").focus()
    press(page, ".", "s")
    assert page.locator("#panes canvas[data-kind]").count() == 3


def test_window_and_error_factor_are_common_and_said(opened):
    page = opened()
    open_volume(page, "one.h5", "3×")
    page.locator("#panes").focus()
    before = pictures(page)
    factor = int(page.input_value("#view-factor"))
    press(page, "]")
    after = pictures(page)
    stronger = int(page.input_value("#view-factor"))
    assert stronger > factor
    assert f"|error| × {stronger}" in text(page, ".scale")
    assert sum(a != b for a, b in zip(before.values(), after.values(), strict=True)) == 2
    assert f"Error of sense times {stronger}" in list(after)[4]
    press(page, "[", "b")
    brighter = pictures(page)
    assert text(page, "#view-white-text") == "110 %"
    assert all(brighter[label] != before[label] for label in before)
    press(page, "d", "e")
    assert page.locator("#panes canvas[data-kind=error]").count() == 0
    press(page, "e")
    assert page.locator("#panes .pane canvas[data-kind=image]").count() == 0


def test_tables_sort_filter_and_search(opened):
    page = opened()
    column = "#volume-table tbody tr td:nth-child(8)"
    values = [float(v) for v in page.locator(column).all_inner_texts()]
    heading = page.locator("#volume-table thead th").nth(7)
    heading.locator("button").click()
    assert [float(v) for v in page.locator(column).all_inner_texts()] == sorted(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").press("Enter")
    assert [float(v) for v in page.locator(column).all_inner_texts()] == sorted(values, reverse=True)
    page.locator("#volume-table thead button").first.click()
    assert heading.get_attribute("aria-sort") is None
    page.fill("#volume-search", "one.h5 sense")
    assert page.locator("#volume-table tbody tr:visible").count() == 2
    assert text(page, "#volume-count") == "2 of 8"
    page.select_option("#summary-filter", "<b>AXT2</b>")
    assert page.locator("#summary-table tbody tr:visible").count() == 4


def test_worst_cases_lead_to_the_viewer(opened):
    page = opened()
    page.select_option("#worst-method", label="zero-filled")
    card = page.locator("ol.worst-list:visible .card").filter(has_text="one.h5 3×")
    thumbnail = card.locator("canvas").evaluate("c => c.toDataURL().length")
    assert thumbnail > 1000
    card.get_by_role("button").click()
    settle(page)
    assert text(page, "#view-caption").startswith("one.h5, 3×")
    _, gallery, _ = small_report()
    entry = next(e for e in gallery.entries if e.name == "one.h5" and e.mask.acceleration == 3)
    ssim = entry.scores["zero-filled"].ssim
    assert text(page, "#view-slice-text") == str(ssim.index(min(ssim)))
    assert page.evaluate("document.activeElement.id") == "panes"


def test_curves_numbers_and_sampling_follow_the_volume(opened):
    page = opened()
    open_volume(page, "one.h5", "5×")
    _, gallery, _ = small_report()
    entry = next(e for e in gallery.entries if e.name == "one.h5" and e.mask.acceleration == 5)
    assert page.locator("#slice-plot path.curve").count() == 2
    markers = page.locator("#slice-plot .marker")
    assert [markers.nth(i).bounding_box()["height"] < 16 for i in range(markers.count())] == [True, True]
    page.locator("#slice-numbers summary").click()
    cells = page.locator("#slice-table tbody tr").nth(2).locator("td").all_inner_texts()
    assert cells == [f"{entry.scores[m].ssim[2]:.4f}" for m in ("zero-filled", "sense")]
    # A click on the curve goes to that slice.
    box = page.locator("#slice-plot svg[role=img]").bounding_box()
    page.locator("#slice-plot svg[role=img]").click(position={"x": 0.95 * box["width"], "y": 20})
    settle(page)
    assert text(page, "#view-slice-text") == "2"
    assert f"{entry.mask.n_lines} of 40 lines" in text(page, "#mask-text")
    assert entry.mask.sha256 in page.locator("#mask-lines").text_content()
    open_volume(page, HOSTILE, "3×")
    assert "of 48 lines" in text(page, "#mask-text")


def test_settings_can_be_copied(opened):
    page = opened()
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.click("[data-copy=record-1]")
    until(page, "window.copied")
    assert page.evaluate("copied") == page.locator("#record-1").text_content()
    assert text(page, "#status") == "Copied to the clipboard"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    serious = []
    for show in ("#view-swipe", "#view-side"):
        page.click(show)
        found = axe.Axe().run(page).response["violations"]
        serious += [
            (v["id"], node["target"], node.get("failureSummary", ""))
            for v in found
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]
    assert serious == []


def test_it_fits_a_phone_and_is_printed_light(opened):
    page = opened(viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.locator("#view-volume").is_visible()
    assert page.locator("#panes canvas[data-kind]").first.is_visible()
