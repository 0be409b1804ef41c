"""A real browser."""

import os
import shutil
import tempfile
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from servers import find_program, free_port


@contextmanager
def chromium():
    """Start headless Chromium with an empty profile."""
    profile = tempfile.mkdtemp(prefix="wsgisessions-browser-", dir="/tmp")
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium")
    options.accept_insecure_certs = True
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=900,900",
        # Any name below .test is this machine.
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    service = Service(find_program("chromedriver"), port=free_port(), log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(30)
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def cookies_of(driver):
    """Return all cookies that a browser keeps, of all sites, HttpOnly ones too, as its developer tools show them."""
    return driver.execute_cdp_cmd("Storage.getCookies", {})["cookies"]
