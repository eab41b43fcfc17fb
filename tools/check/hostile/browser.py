"""The report and the page of `mmq explore` in Chromium, looked at for what text from files must not have become."""

import json
import subprocess
import time
from pathlib import Path

from tools.check.hostile.study import HostileStudy
from tools.check.hostile.terminal import PATIENCE
from tools.common.browser import open_browser
from tools.common.trial import Failure

# What must not be in a page: elements and attributes that only such text has, and letters that turn what follows.
LOOK = r"""
const wrong = [];
if (window.obeyed) wrong.push('a script ran');
for (const node of document.querySelectorAll(
  'mmq-evil, [onerror], img[src="x"], a[href^="javascript" i], base, iframe, object'))
  wrong.push('an element: ' + node.outerHTML.slice(0, 200));
for (const node of document.querySelectorAll('*')) for (const attribute of node.attributes)
  if (/^on|[<"'`]/i.test(attribute.name)) wrong.push('an attribute: ' + node.outerHTML.slice(0, 200));
const unruly = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) if (!/^(SCRIPT|STYLE)$/.test(walker.currentNode.parentElement.tagName)
  && unruly.test(walker.currentNode.textContent)) wrong.push('a control character: '
    + JSON.stringify(walker.currentNode.textContent.slice(0, 200)));
for (const node of document.querySelectorAll('[title], [aria-label], [alt]'))
  for (const name of ['title', 'aria-label', 'alt']) if (unruly.test(node.getAttribute(name) ?? ''))
    wrong.push('a control character: ' + name + '=' + JSON.stringify(node.getAttribute(name)));
return [wrong, [...document.scripts].filter(s => s.type !== 'application/json').length,
  (document.documentElement.textContent.match(/mmq-evil/g) ?? []).length];
"""
# Everything that is seen unfolded, pressed, chosen and pointed at: so many of each kind.
USE = r"""
const done = {};
for (const d of document.querySelectorAll('details')) d.open = true;
for (const node of document.querySelectorAll('button, select, canvas, svg, [tabindex], td, summary')) {
  const kind = node.tagName + node.closest('[id]')?.id;
  done[kind] = (done[kind] ?? 0) + 1;
  if (done[kind] > arguments[0] || !node.checkVisibility() || node.matches('summary, #stop, #ask, :disabled')) continue;
  for (const name of ['mouseover', 'mousemove', 'focus'])
    node.dispatchEvent(new MouseEvent(name, {bubbles: true, clientX: 30, clientY: 30}));
  if (node.tagName === 'SELECT') for (let i = 0; i < Math.min(node.options.length, 12); i++) {
    node.selectedIndex = i; node.dispatchEvent(new Event('change', {bubbles: true}));
  } else node.click?.();
}
"""


class Browser:
    """Pages, looked at for what such text must not have become."""

    def __init__(self, shots: Path | None):
        self.driver, self.shots = open_browser(), shots
        self.driver.set_script_timeout(PATIENCE)

    def look(self, about: str, scripts: int | None, least: int) -> int:
        """Raises: Failure. Returns how many scripts the page has; least: mentions of the text."""
        wrong, found, mentions = self.driver.execute_script(LOOK)
        if wrong:
            raise Failure(f"{about}: {wrong[:3]}")
        if scripts is not None and found != scripts:
            raise Failure(f"{about}: {found} scripts, not {scripts}")
        if mentions < least:
            raise Failure(f"{about}: the text is shown {mentions} times, not {least}: was it there at all?")
        return found

    def quiet(self, about: str, address: str) -> None:
        # What is pressed all at once may ask for a neuron of the module before: the server refuses that.
        lines = [entry["message"] for entry in self.driver.get_log("browser")
                 if not (entry["message"].startswith(address) and "400 (Bad Request)" in entry["message"])]
        if lines:
            raise Failure(f"{about}: the console says {lines[:3]}")
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith((address, "data:", "blob:", "chrome:", "about:")):
                    raise Failure(f"{about}: asks for {url}")

    def report(self, page: Path, least: int = 20) -> None:
        """Opens it, and does what can be done on it."""
        address = page.as_uri()
        self.driver.get(address)
        found = self.look(f"{page.name!r}, opened", None, least)
        self.driver.execute_script(USE, 200)
        time.sleep(0.2)
        self.look(f"{page.name!r}, used", found, least)
        self.quiet(f"{page.name!r}", address)

    def shoot(self, name: str) -> None:
        if self.shots:
            self.shots.mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(self.shots / f"{name}.png"))

    def until(self, script: str, problem: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.driver.execute_script(script):
            if time.monotonic() > end:
                raise Failure(f"explore: {problem}")
            time.sleep(0.05)

    def explore(self, study: HostileStudy) -> None:
        """Asks about a sample with everything switched on, and uses the page."""
        process = subprocess.Popen(
            [study.terminal.mmq, "explore", "--model", study.model, "--study", study.study, "--bench", study.bench],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            address = process.stdout.readline().decode().strip()
            self.driver.get(address)
            self.until("return document.getElementById('module').options.length", "the page is not filled")
            scripts = self.look("explore, opened", None, 0)
            self.driver.execute_script("document.querySelector('#samples summary').click()")
            self.until("return document.querySelectorAll('#sample-list button').length", "no samples")
            self.driver.execute_script("document.querySelector('#sample-list button').click()")
            self.until("return document.getElementById('photo').naturalWidth", "no picture")
            self.driver.execute_script(
                "for (const id of ['lens', 'compare']) document.getElementById(id).checked = true;"
                "const what = document.getElementById('what'); what.value = 'setting';"
                "what.dispatchEvent(new Event('change', {bubbles: true}));"
                "document.getElementById('most').value = 24;"
                "document.getElementById('question').value += arguments[0];"
                "document.getElementById('ask').click()", study.asked)
            self.until("return document.getElementById('state').textContent.startsWith('Done')", "no answer")
            self.look("explore, answered", scripts, 5)
            self.shoot("explore")
            for _ in range(2):
                self.driver.execute_script(USE, 8)
                time.sleep(1)
            self.look("explore, used", scripts, 5)
            self.quiet("explore", address)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE)
        study.terminal.look("explore", address.encode() + errors)
