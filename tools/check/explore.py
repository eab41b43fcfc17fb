"""Drives the page of `mmq explore` in a headless Chromium as a person would, and its server as an attacker.

    python3 tools/check explore [--arch instructblip] [--mmq .build/release/mmq] [--shots DIR] [--requests 10000]

Drops a picture, asks, waits, clicks patches and tokens, masks, compares, runs the command that the page prints, goes
back to an address, by keyboard, on a narrow screen, in the dark; then two browsers at once, reloads in the middle of
answers, requests of other pages and broken ones. Fails on an error or warning of the console, on a request that leaves
the server, on text of too little contrast, on a page that is wider than its screen, on memory that grows. Needs
chromium and chromedriver (Debian: chromium, chromium-driver), and selenium: where this Python has none, a virtual
environment with it is made in .build/selenium-venv. Exits with 3 where there is no Chromium.
"""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tools.common.browser import is_there, open_browser, with_selenium
from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import DEMO, MMQ

PATIENCE = 60
# Of all that the first page needs, in bytes, and until it is there, in seconds.
LARGEST_PAGE, LONGEST_WAIT = 300_000, 1.0
# Growth of the server's memory that is no leak: allocators keep some.
GROWTH = 48 << 20

# The least contrast of any text that is seen, WCAG 2.1 AA: 4.5, or 3 where it is large.
CONTRAST = r"""
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgba = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = c => { const l = c.slice(0, 3).map(v => { v /= 255;
  return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
const behind = node => { const stack = []; for (let n = node; n; n = n.parentElement)
  stack.push(rgba(getComputedStyle(n).backgroundColor)); stack.push([255, 255, 255, 1]);
  return stack.reverse().reduce((below, top) => over(top, below)); };
const wrong = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !node.checkVisibility({opacityProperty: true}) || node.closest(
    'option, script, noscript, :disabled')) continue;
  const style = getComputedStyle(node), back = behind(node), ink = over(rgba(style.color), back);
  const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) wrong.push(node.tagName + ' ' + walker.currentNode.textContent.trim().slice(0, 30)
    + ' ' + ratio.toFixed(2));
}
return wrong;
"""

DROP = r"""
const [bytes, name, done] = arguments;
const raw = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([raw], name));
document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
done();
"""


class Wrong(Exception):
    """What the page or the server did and should not have."""


def check(holds: bool, problem: str) -> None:
    if not holds:
        raise Wrong(problem)


class Server:
    """`mmq explore` over a converted model and its study."""

    def __init__(self, options, work: Path):
        mmq, self.work = options.mmq, work
        self.model, study, bench = work / "model", work / "study.sqlite", DEMO / "bench"
        output_of([mmq, "convert", DEMO / options.arch, "--output", self.model, "--type", "q8_0"])
        output_of([mmq, "activation", "--model", self.model, "--bench", bench, "--study", study, "--domain", "med,rs"])
        output_of([mmq, "identify", "--study", study, "--top-rate", "0.03"])
        self.process = subprocess.Popen(
            [mmq, "explore", "--model", self.model, "--study", study, "--bench", bench], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        check(self.address.startswith("http://127.0.0.1:"), f"no address, but {self.address!r}")
        self.port = int(self.address.split(":")[2].split("/")[0])
        self.token = self.address.split("/")[3]

    def resident(self) -> int:
        """Bytes that are its own: what it mapped is not counted."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise Wrong("the server is gone")

    def get(self, path: str, status: int = 200, **headers: str) -> bytes:
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                found, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            found, body = error.code, error.read()
        check(found == status, f"{path} {headers}: status {found}, not {status}: {body[:200]!r}")
        return body

    def raw(self, data: bytes, wait: float = 0.2) -> bytes:
        """Sends bytes as they are; gives back what comes within the time, or until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as peer:
            peer.settimeout(wait)
            try:
                peer.sendall(data)
                return peer.recv(65536)
            except OSError:
                return b""

    def end(self) -> None:
        """Ctrl-C ends it, cleanly."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE)
        check(code == 0, f"ended with {code}: {self.process.stderr.read()}")


class Page:
    """A browser at the page."""

    def __init__(self, server: Server, shots: Path | None, width: int = 1280):
        self.server, self.shots = server, shots
        self.browser = open_browser(width)
        self.browser.set_script_timeout(PATIENCE)
        self.browser.get(server.address)
        self.until(lambda: self("return document.getElementById('module').options.length"), "the page is not filled")

    def __call__(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def find(self, selector: str):
        from selenium.webdriver.common.by import By

        found = self.browser.find_element(By.CSS_SELECTOR, selector)
        self("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
        return found

    def until(self, condition, problem: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                self.shoot("problem")
                raise Wrong(f"{problem}; the page says {self.said!r}")
            time.sleep(0.02)

    @property
    def said(self) -> str:
        return self.find("#state").text

    def drop(self, picture: Path) -> None:
        import base64

        self.browser.execute_async_script(DROP, base64.b64encode(picture.read_bytes()).decode(), picture.name)
        self.until(lambda: picture.name in self.said, "the dropped picture does not arrive")
        self.until(lambda: self("return document.getElementById('photo').naturalWidth"), "the picture is not shown")

    def ask(self, question: str | None = None) -> list[str]:
        """Asks and waits; the answers' texts."""
        if question is not None:
            box = self.find("#question")
            box.clear()
            box.send_keys(question)
        self("document.getElementById('state').textContent = ''")
        self.find("#ask").click()
        self.until(lambda: self("return document.getElementById('stop').disabled") and self.said.startswith("Done"),
                   "no answer")
        return self("return [...document.querySelectorAll('.answer .text')].map(n => n.textContent)")

    def choose(self, name: str, value: str) -> None:
        self("const n = document.getElementById(arguments[0]); n.value = arguments[1];"
             "n.dispatchEvent(new Event('change', {bubbles: true}))", name, value)

    def shoot(self, name: str) -> None:
        if self.shots:
            self.shots.mkdir(parents=True, exist_ok=True)
            height = self("return document.documentElement.scrollHeight")
            size = self.browser.get_window_size()
            self.browser.set_window_size(size["width"], height + 200)
            self.browser.save_screenshot(str(self.shots / f"{name}.png"))
            self.browser.set_window_size(size["width"], size["height"])

    def looks(self, name: str) -> None:
        """Contrast and width, and a screenshot."""
        wrong = self(CONTRAST)
        check(not wrong, f"{name}: too little contrast: {wrong[:5]}")
        wide = self("return [document.documentElement.scrollWidth, innerWidth]")
        check(wide[0] <= wide[1], f"{name}: the page is {wide[0]} wide on {wide[1]}")
        self.shoot(name)

    def quiet(self) -> None:
        """Nothing on the console, no request elsewhere."""
        lines = [entry["message"] for entry in self.browser.get_log("browser")]
        check(not lines, f"the console says {lines[:3]}")
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                ours = url.startswith((self.server.address, "data:", "blob:", "chrome:", "about:"))
                check(ours, f"the page asks {url}")


def first(page: Page) -> tuple[int, float]:
    """Bytes and milliseconds of the first page."""
    return page("const all = performance.getEntriesByType('resource').concat("
                "performance.getEntriesByType('navigation'));"
                "return [all.reduce((n, e) => n + e.transferSize, 0), Math.max(...all.map(e => e.responseEnd))]")


def use(page: Page, server: Server) -> None:
    """A person's hour with the page."""
    size, wait = first(page)
    for _ in range(4):
        if wait <= 1000 * LONGEST_WAIT:
            break
        page.browser.refresh()  # a busy machine is not the page's fault
        page.until(lambda: page("return document.getElementById('module').options.length"), "the page is not filled")
        size, wait = first(page)
    check(size <= LARGEST_PAGE, f"the first page is {size} bytes")
    check(wait <= 1000 * LONGEST_WAIT, f"the first page takes {wait} ms")
    print(f"first page: {size / 1000:.0f} kB, {wait:.0f} ms", flush=True)

    picture = next(iter(sorted((DEMO / "bench/rs/Data").glob("*.png"))))
    page.drop(picture)
    page.find("#lens").click()
    alone = page.ask("How many roads are there?")
    check(len(alone) == 1 and alone[0] != "", f"answers {alone}")
    page.until(lambda: page("return !!document.querySelector('.lens .layers tbody tr')"), "no lens")

    # Patches and tokens.
    page.until(lambda: page("return document.querySelectorAll('#tokens button, #firing tbody tr').length"), "no tokens")
    before = page("return document.getElementById('place').textContent")
    if page("return !document.getElementById('heat').hidden"):
        page.find("#heat").click()
        page.until(lambda: page("return document.getElementById('place').textContent") != before, "a click is nothing")
        row = page("return document.getElementById('place').textContent")
        from selenium.webdriver.common.keys import Keys
        page.find("#heat").send_keys(Keys.ARROW_RIGHT)
        page.until(lambda: page("return document.getElementById('place').textContent") != row, "an arrow is nothing")
    page("document.querySelectorAll('#tokens button')[1]?.click()")
    page.find("#after").click()
    place = "return document.getElementById('browse-place').textContent"
    page.until(lambda: "1 of" in page(place), "no neuron of a set")
    note = "return document.getElementById('neuron-note').textContent"
    page.until(lambda: "fires at" in page(note), "no values")
    for module in page("return [...document.getElementById('module').options].map(o => o.value)"):
        page.choose("module", module)
        page.until(lambda module=module: page(note).startswith(module + ","), f"no values of {module}")
        # What lies in the picture is drawn on it: the map has the picture's shape.
        shape = page("const c = document.getElementById('heat'), p = document.getElementById('photo');"
                     "return c.hidden ? null : [c.width / c.height, p.naturalWidth / p.naturalHeight]")
        check(shape is None or abs(shape[0] / shape[1] - 1) < 0.02, f"the map of {module} is no picture: {shape}")
    page.choose("module", page("return document.getElementById('module').options[0].value"))

    # Masks: a domain's neurons, both answers, and the command that gives the same.
    setting = page("return document.getElementById('setting').options[0].value")
    page.choose("what", "setting")
    page.choose("setting", setting)
    page.choose("compare", "")
    page("document.getElementById('compare').checked = true")
    both = page.ask()
    check(len(both) == 2 and both[0] == alone[0], f"answers {both}, the first not {alone}")
    commands = page("return [...document.querySelectorAll('.answer pre')].map(n => n.textContent)")
    for answer, command in zip(both, commands, strict=True):
        told = told_by(command, server, picture)
        check(told == answer, f"{command}\nsays {told!r}, the page {answer!r}")
    page("document.getElementById('pin').click()")
    page.choose("what", "pinned")
    pinned = page.ask()
    commands = page("return [...document.querySelectorAll('.answer pre')].map(n => n.textContent)")
    check(told_by(commands[1], server, picture) == pinned[1], f"{commands[1]}\nsays something else than {pinned[1]!r}")

    # The address leads back.
    address = page.browser.current_url
    page.browser.get("about:blank")
    page.browser.get(address)
    page.until(lambda: page("return document.getElementById('photo').naturalWidth"), "no picture at the address")
    kept = page.find("#question").get_attribute("value")
    check(kept == "How many roads are there?", f"the address has the question {kept!r}")
    check(len(page.ask()) == 2, "what is pinned and compared is not in the address")

    # A sample, by keyboard alone.
    from selenium.webdriver.common.keys import Keys
    page.find("#samples summary").send_keys(Keys.ENTER)
    page.until(lambda: page("return document.querySelectorAll('#sample-list button').length"), "no samples")
    page("document.querySelector('#sample-list button').focus()")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    check("roads" not in page.find("#question").get_attribute("value"), "the sample's question is not taken")
    page.choose("what", "none")
    page.find("#ask").send_keys(Keys.ENTER)
    page.until(lambda: page.said.startswith("Done"), "no answer by keyboard")


def told_by(command: str, server: Server, picture: Path) -> str:
    """What the commands say that the page prints."""
    *before, ask = command.split("\n")
    script = "\n".join([*before, ask.replace("mmq ", f"{MMQ_HERE} ", 1)])
    shutil.copy(picture, server.work / picture.name)
    result = subprocess.run(["sh", "-ec", script], cwd=server.work, capture_output=True, text=True)
    check(result.returncode == 0, f"{script}\n{result.stderr}")
    return result.stdout.strip("\n")


def screens(page: Page) -> None:
    page.looks("light")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark"}]})
    page.looks("dark")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    page.looks("narrow")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def two(page: Page, other: Page) -> None:
    """A second question waits and says so; reloads in the middle of answers lose nothing."""
    picture = next(iter(sorted((DEMO / "bench/rs/Data").glob("*.png"))))
    other.drop(picture)
    for one in (page, other):
        one.choose("most", "1024")
        one("document.getElementById('compare').checked = true; document.getElementById('lens').checked = true")
    said = "window.heard = []; new MutationObserver(() => heard.push(document.getElementById('state').textContent))" \
           ".observe(document.getElementById('state'), {childList: true})"
    other(said)
    for _ in range(20):
        page("document.getElementById('ask').click()")
        other("document.getElementById('question').value = 'Why?'; document.getElementById('ask').click()")
        other.until(lambda: other.said.startswith("Done"), "no answer of the second browser")
        if any(text.startswith("Waiting") for text in other("return heard")):
            break
    else:
        raise Wrong("the second question never waited")


def reloads(page: Page, server: Server, times: int = 100) -> None:
    address = page.browser.current_url
    for number in range(times):
        page("document.getElementById('ask').click()")
        time.sleep(random.random() * 0.1)
        page.browser.get("about:blank")
        page.browser.get(address)
        page.until(lambda: page("return document.getElementById('module').options.length"), f"reload {number}: nothing")
    page.ask()


def attack(server: Server, requests: int) -> None:
    """Other pages, other hosts, wrong tokens, and broken requests."""
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1", f"[::1]:{server.port}", ""):
        server.get("", 403, Host=host)
    for origin in ("http://evil.example", "null", "https://127.0.0.1", f"http://127.0.0.1:{server.port + 1}"):
        server.get("api/info", 403, Origin=origin)
    server.get("api/info", 403, **{"Sec-Fetch-Site": "cross-site"})
    server.get("api/info", 200, Origin=f"http://127.0.0.1:{server.port}")
    for path in ("../", "%2e%2e/", "api", "api/none", "explore.html", "api/picture"):
        check(b"evil" not in server.get(path, 400 if path == "api/picture" else 404), path)
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    ask = f"POST /{server.token}/api/ask HTTP/1.1\r\n{host}"
    for token in ("", "0" * 32, server.token[:-1], server.token + "0", server.token.upper() + "x"):
        found = server.raw(f"GET /{token}/ HTTP/1.1\r\n{host}\r\n".encode())
        check(b" 404 " in found.split(b"\r\n")[0], f"token {token!r}: {found[:60]!r}")
    seeds = [
        f"{ask}Content-Length: 40\r\n\r\n{{\"picture\": \"rs-0\", \"prompt\": 1}}",
        f"POST /{server.token}/api/pictures?name=x HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\nno picture",
        f"GET /{server.token}/api/neuron?pass=1&module=lang&layer=-1&neuron=99999999999 HTTP/1.1\r\n{host}\r\n",
        f"GET /{server.token}/api/position?pass=1&module=lang&position=-5 HTTP/1.1\r\n{host}\r\n",
        f"GET /{server.token}/api/samples?domain=../..&from=9223372036854775807 HTTP/1.1\r\n{host}\r\n",
        f"{ask}Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n{{}}\r\n0\r\n\r\n",
        f"{ask}Content-Length: -1\r\n\r\n",
        f"{ask}Content-Length: 99999999999999999999\r\n\r\n{{}}",
        "GET", "\r\n\r\n", "\x00" * 64, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "A" * 60000,
    ]
    chance = random.Random(1)
    base = 0
    for number in range(requests):
        data = bytearray(chance.choice(seeds).encode("latin-1"))
        for _ in range(chance.randrange(4)):
            if chance.random() < 0.5:
                data[chance.randrange(len(data))] = chance.randrange(256)
            else:
                del data[chance.randrange(len(data)):]
                data += b"\r\n\r\n"
        server.raw(bytes(data), wait=0.002)
        if number == requests // 10:
            base = server.resident()
    server.get("api/info")
    grown = server.resident() - base
    print(f"{requests} broken requests: memory grew by {grown / 1e6:.1f} MB after the first tenth", flush=True)
    check(grown < GROWTH, f"memory grew by {grown} bytes")


def main() -> int:
    global MMQ_HERE
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--shots", type=Path, help="keeps screenshots there")
    given.add_argument("--requests", type=int, default=10_000)
    given.add_argument("--reloads", type=int, default=100)
    options = given.parse_args()
    options.mmq = options.mmq.resolve()
    MMQ_HERE = options.mmq
    if not is_there():
        print("no chromium and chromedriver here: the page was not looked at", file=sys.stderr)
        return 3
    with_selenium("explore")
    with tempfile.TemporaryDirectory() as work:
        server = Server(options, Path(work))
        try:
            page = Page(server, options.shots)
            use(page, server)
            screens(page)
            other = Page(server, options.shots)
            two(page, other)
            other.quiet()
            other.browser.quit()
            base = server.resident()
            reloads(page, server, options.reloads)
            grown = server.resident() - base
            print(f"{options.reloads} reloads in the middle of answers: memory grew by {grown / 1e6:.1f} MB")
            check(grown < GROWTH, f"memory grew by {grown} bytes")
            page.quiet()
            page.browser.quit()
            attack(server, options.requests)
            server.end()
        except Wrong as problem:
            print(f"WRONG: {problem}", file=sys.stderr)
            return 1
        finally:
            server.process.kill()
    print("nothing wrong")
    return 0
