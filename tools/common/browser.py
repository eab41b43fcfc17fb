"""A headless Chromium for tools that look at pages as a person does."""

import importlib.util
import os
import shutil
import sys

from tools.common.environments import environment
from tools.common.paths import ROOT


def is_there() -> bool:
    """Whether Chromium and its driver are (Debian: chromium, chromium-driver)."""
    return all(map(shutil.which, ("chromium", "chromedriver")))


def with_selenium(command: str) -> None:
    """Goes on in a Python with selenium, at the command of tools/check that this is."""
    if importlib.util.find_spec("selenium"):
        return
    python = environment("selenium", ["selenium"])
    if python is None:
        sys.exit("selenium cannot be had here: the page was not looked at")
    sys.stdout.flush()
    # By its path: by another name it would not know that it is of a virtual environment.
    os.execv(python, [str(python), str(ROOT / "tools/check"), command, *sys.argv[1:]])


def open_browser(width: int = 1280):
    """selenium's driver of a new browser, which logs its console and its requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--window-size={width},1400"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
