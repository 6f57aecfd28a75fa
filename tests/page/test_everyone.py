"""The page for everyone: keyboard, screen readers, Chinese, small screens and dark mode."""

import pytest

NO_AXE = "the check for accessibility needs axe-core: pip install axe-playwright-python"


def serious(page) -> list[str]:
    """What axe-core finds that keeps people out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=NO_AXE).Axe()
    found = [
        one
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_state(visit, couple, astronaut, scheme):
    visitor = visit(color_scheme=scheme)
    found = {"empty": serious(visitor.page)}
    visitor.parse(couple)
    found["result"] = serious(visitor.page)
    visitor.page.click("#compare")
    visitor.page.click("#legend li >> nth=0 >> label")
    for one in ("#code summary", "#table summary"):
        visitor.page.click(one)
    visitor.page.click("#edit-open")
    visitor.page.mouse.move(*visitor.place(210, 130, (726, 512)))
    visitor.page.wait_for_selector("#edit-form:not([hidden])")
    found["everything open"] = serious(visitor.page)
    visitor.page.route("**/parse?*", lambda route: None)
    visitor.choose(astronaut)
    visitor.page.wait_for_selector("#progress:not([hidden])")
    found["busy, with a strip"] = serious(visitor.page)
    visitor.page.click("#cancel")
    visitor.answer_with(413, "image_too_large")
    visitor.page.click("#problem button:has-text('Try again')")
    visitor.page.wait_for_selector("#problem:has-text('pixels')")
    found["problem"] = serious(visitor.page)
    visitor.page.evaluate("document.querySelector('#token').showModal()")
    found["token"] = serious(visitor.page)
    assert found == {state: [] for state in found}


def test_the_whole_way_by_keyboard_alone(visit, couple):
    visitor = visit()
    keyboard, page = visitor.page.keyboard, visitor.page

    def tab_to(selector: str, most: int = 60):
        for _ in range(most):
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
            keyboard.press("Tab")
        raise AssertionError(f"{selector} cannot be reached with Tab")

    page.on("filechooser", lambda chooser: chooser.set_files(couple))
    tab_to("#choose")
    keyboard.press("Enter")
    page.wait_for_selector("#legend li")
    tab_to("#modes input")
    keyboard.press("ArrowRight")
    assert page.is_checked("#modes input[value=colours]")
    tab_to("#compare")
    keyboard.press("Space")
    visitor.settle()  # the divider is there from the next frame on
    tab_to("#stage")
    keyboard.press("+")
    tab_to("#divider")
    keyboard.press("ArrowRight")
    visitor.settle()
    assert page.get_attribute("#divider", "aria-valuenow") == "52"
    tab_to(".chip[data-person='2']")
    keyboard.press("Enter")
    assert page.get_attribute(".chip[data-person='2']", "aria-pressed") == "true"
    tab_to("#legend input[type=checkbox]")
    keyboard.press("Space")
    assert not page.is_checked("#legend input[type=checkbox] >> nth=0")
    tab_to("[data-format=json]")
    with page.expect_download():
        keyboard.press("Enter")
    tab_to("#table summary")
    keyboard.press("Enter")
    assert page.is_visible("#table table")


def test_progress_and_result_are_read_aloud(visit, astronaut):
    visitor = visit()
    heard = visitor.page.evaluate_handle("""() => {
        const heard = [];
        const live = document.querySelector('#live');
        new MutationObserver(() => heard.push(live.textContent)).observe(live, { childList: true });
        return heard;
    }""")
    visitor.parse(astronaut)
    told = heard.json_value()
    assert any("Parsing" in one for one in told) and told[-1].startswith(
        "astronaut.jpg: 1 person, "
    )
    visitor.page.click("#table summary")
    assert "Person 1" in visitor.page.inner_text("#table") and "Face" in visitor.page.inner_text(
        "#table"
    )


def test_a_chinese_browser_gets_chinese_and_can_switch(visit, astronaut):
    visitor = visit(locale="zh-CN")
    assert visitor.page.inner_text("#headline").startswith("看清每个人")
    assert visitor.page.get_attribute("html", "lang") == "zh-CN"
    visitor.parse(astronaut.with_name("hopper.jpg"))  # who has parts with sides
    names = visitor.page.locator("#legend .name").all_inner_texts()
    assert {"脸", "头发", "右臂"} <= set(names)
    assert "1 个人" in visitor.page.inner_text(
        "#summary"
    ) and "左右以人物自身为准" in visitor.page.inner_text("#legend")
    visitor.page.click("#language")
    assert visitor.page.locator("#legend .name:has-text('Right arm')").count() == 1
    visitor.page.reload()
    visitor.page.wait_for_selector("html.ready")
    assert visitor.page.inner_text("#headline").startswith("See who is where")  # it remembers


def test_every_text_and_label_is_there_in_both_languages(visit):
    from humanparse import labels

    visitor = visit()
    missing = visitor.page.evaluate(
        "async (names) => (await import('./static/js/strings.js')).untranslated(names)",
        [
            name
            for one in (labels.LIP, labels.CIHP, labels.PASCAL_PERSON_PART, labels.MHP_V2)
            for name in one.names
        ],
    )
    assert missing == []


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_screen_of_360_pixels_shows_everything_without_scrolling_sideways(
    visit, couple, astronaut, locale
):
    visitor = visit(width=360, height=740, locale=locale, has_touch=True, is_mobile=True)

    def wide():
        return visitor.page.evaluate("""() => {
            const inspector = document.querySelector('#inspector');
            const fits = inspector.scrollWidth <= inspector.clientWidth;
            return [document.documentElement.scrollWidth, fits];
        }""")

    assert wide()[0] == 360
    visitor.parse(couple)
    assert wide() == [360, True]
    visitor.page.click("#sheet")
    visitor.page.click("#edit-open")
    assert wide() == [360, True]
    visitor.page.click("#sheet")
    visitor.parse(astronaut)
    visitor.page.wait_for_selector("#strip")
    assert wide() == [360, True]
    visitor.answer_with(429, "queue_full", **{"retry-after": "30"})
    visitor.choose(astronaut)
    visitor.problem()
    assert wide() == [360, True]


def test_the_theme_follows_the_system_and_can_be_chosen(visit):
    visitor = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = visitor.page.evaluate(ground)
    visitor.page.click("#theme")
    assert visitor.page.evaluate(ground) != dark
    visitor.page.reload()
    assert visitor.page.evaluate(ground) != dark
