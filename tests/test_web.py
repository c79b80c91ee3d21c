#!/usr/bin/env python3
"""What a person sees in a browser (Chromium).

Usage: test_web.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import unittest

import harness
import world

PINION = harness.BUILD / "pinion"
PIPELINE = {"resources": [{"name": "numbers", "type": "mock", "check_every": "never", "source": {"force_version": "1"}}],
            "jobs": [{"name": "first", "plan": [{"get": "numbers"}]}, {"name": "second", "plan": [{"get": "numbers", "passed": ["first"], "trigger": True}]}]}


def open_browser(test):
    try:
        from selenium import webdriver
    except ImportError:
        raise unittest.SkipTest("python3-selenium is not installed") from None
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={world.temporary_folder(test)}"):
        options.add_argument(argument)
    browser = webdriver.Chrome(service=webdriver.chrome.service.Service("/usr/bin/chromedriver"), options=options)
    test.addCleanup(browser.quit)
    return browser


class FrontPageTest(unittest.TestCase):
    def setUp(self):
        harness.require_root()
        self.folder = world.temporary_folder(self)
        world.run("ip", "link", "set", "lo", "up")
        self.server = world.Server(self.folder)
        self.server.start()
        self.addCleanup(self.server.stop)
        (self.folder / "fly").symlink_to(PINION)
        self.fly = world.Fly(self.folder / "fly", self.server, self.folder / "home")
        self.fly.login()
        self.browser = open_browser(self)

    def text(self):
        return self.browser.execute_script("return document.body ? document.body.innerText : ''")

    def job(self, name):
        """The classes of a job's tile, as they are now."""
        return self.browser.execute_script(
            "const tile = [...document.querySelectorAll('li')].find(item => item.firstChild.textContent.split(' ')[0] === arguments[0]);"
            "return tile ? tile.className : null", name)

    def test_it_shows_pipelines_live_after_logging_in(self):
        self.browser.get(self.server.url)
        world.wait_for("the page is live", lambda: "live" in self.text())
        self.assertIn("No pipeline can be seen from here", self.text())
        self.assertIn(f"fly -t pinion login -c {self.server.url}", self.text())

        self.browser.find_element("id", "login").click()
        world.wait_for("the login form", lambda: self.browser.find_elements("id", "password"))
        self.browser.find_element("id", "login").send_keys("test")
        self.browser.find_element("id", "password").send_keys("wrong\n")
        world.wait_for("the refusal", lambda: "invalid" in self.text().lower() or "wrong" in self.text().lower())
        self.browser.find_element("id", "login").clear()
        self.browser.find_element("id", "login").send_keys("test")
        self.browser.find_element("id", "password").send_keys("test\n")
        world.wait_for("the front page", lambda: "logged in as test" in self.text())

        # From here on nothing is reloaded.
        self.browser.execute_script("window.stayed = true")
        self.fly.set_pipeline("numbers", PIPELINE)
        world.wait_for("the new pipeline", lambda: "main / numbers" in self.text())
        self.assertEqual([self.job("first"), self.job("second")], ["pending", "pending"])
        self.fly("trigger-job", "-j", "numbers/first")
        world.wait_for("both jobs' success", lambda: [self.job("first"), self.job("second")] == ["succeeded", "succeeded"])
        self.fly("pause-job", "-j", "numbers/first")
        world.wait_for("the pause", lambda: self.job("first") == "paused")
        self.server.kill()
        world.wait_for("the loss is told", lambda: "connection lost" in self.text())
        self.server.start()
        self.fly("destroy-pipeline", "-n", "-p", "numbers")
        world.wait_for("the pipeline's end, seen by itself", lambda: "main / numbers" not in self.text() and "live" in self.text())
        self.assertTrue(self.browser.execute_script("return window.stayed"))
        severe = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        self.assertEqual([line for line in severe if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line and "401" not in line], [])


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
