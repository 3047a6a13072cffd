"""Chromium, for tests of pages."""

import json
import shutil

import pytest

from tests.support.browsers import show


@pytest.fixture(scope="module")
def chromium():
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="no selenium: pip install -e '.[test]'"
    )
    from selenium.webdriver.chrome.service import Service

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium or chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root in a container cannot have
        "--disable-dev-shm-usage",
        "--force-color-profile=srgb",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    """Chromium, which must have nothing to complain about and ask for nothing but the page."""
    show(chromium)
    chromium.get_log("browser")
    chromium.get_log("performance")
    yield chromium
    assert chromium.get_log("browser") == []
    messages = [
        json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")
    ]
    requested = [
        m["params"]["request"]["url"] for m in messages if m["method"].endswith("requestWillBeSent")
    ]
    assert requested
    assert {url.split(":")[0] for url in requested} <= {"file", "data"}
    assert len({url for url in requested if url.startswith("file:")}) == 1
