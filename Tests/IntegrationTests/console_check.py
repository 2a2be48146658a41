"""Opens the console's page in Chromium and says as JSON what is to be seen there. Python's own library is enough: the browser is driven over a pipe.

Usage: console_check.py CHROMIUM URL EVENTS [FOLDER]
EVENTS: waits until the page says, by itself, that so many were learned. FOLDER: for screenshots, to be looked at.
"""
import base64, json, os, select, subprocess, sys, tempfile, time

SECONDS_MAX = 90


class Browser:
    def __init__(self, program, folder):
        commands, self.send = os.pipe()
        self.receive, answers = os.pipe()

        def wire():  # in the child: the browser reads from 3 and writes to 4
            a, b = os.dup(commands), os.dup(answers)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
             "--user-data-dir=" + folder, "about:blank"],
            preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self.number, self.buffer, self.session, self.problems = 0, b"", None, []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(domain + ".enable")

    def __call__(self, method, **parameters):
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.send, json.dumps(command).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.hear(answer)

    def read(self):
        while b"\0" not in self.buffer:
            if not select.select([self.receive], [], [], SECONDS_MAX)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self.receive, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def hear(self, event):
        method, what = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(what["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning"):
            self.problems.append(json.dumps(what["args"])[:500])
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")

    def js(self, expression):
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {json.dumps(answer['exceptionDetails'])[:500]}")
        return answer["result"].get("value")

    def until(self, expression):
        deadline = time.monotonic() + SECONDS_MAX
        while not self.js(f"!!({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited for {expression}; the page says: {self.js('document.body.innerText')[:3000]}; problems: {self.problems}")
            time.sleep(0.05)

    def key(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width, dark, calm=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])

    def shot(self, name):
        if len(sys.argv) > 4:
            with open(os.path.join(sys.argv[4], name + ".png"), "wb") as file:
                file.write(base64.b64decode(self("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]))


# The least contrast of a text with what is behind it, by WCAG's formula.
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (color, below) => {
    canvas.fillStyle = `rgb(${below})`; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  let least = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !element.checkVisibility()) continue;
    const chain = []; for (let at = element; at; at = at.parentElement) chain.unshift(at);
    const back = chain.reduce((below, at) => over(getComputedStyle(at).backgroundColor, below), [255, 255, 255]);
    const style = getComputedStyle(element), text = over(element.ownerSVGElement ? style.fill : style.color, back);
    const [a, b] = [light(text), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < least[0]) least = [ratio, `${element.tagName}.${element.className?.baseVal ?? element.className}: ${element.textContent.slice(0, 40)}`];
  }
  return least;
})()"""
TABLE = "(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.innerText))"


def check(browser, url, events):
    seen = {"looks": []}
    browser.look(1600, False)
    browser("Page.navigate", url=url)
    browser.until(f"document.querySelector('#tile-rate')?.innerText.includes('{events:,} in all')")
    browser.until("document.querySelector('#timeline .line') && document.querySelector('#versions tbody tr')")
    seen["state"] = browser.js("document.querySelector('#state').textContent")
    seen["tiles"] = browser.js("Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) => [tile.id.slice(5), tile.querySelector('.figure').textContent]))")
    # The page as it is opened now: its lists are the newest.
    browser("Page.reload")
    browser.until("document.querySelector('#timeline .line') && document.querySelector('#versions tbody tr') && document.querySelector('#drift tbody tr, #drift p')")
    for list in ("nodes", "drift", "versions"):
        seen[list] = browser.js(f"({TABLE})('{list}')")
    seen["marks"] = browser.js("[...new Set([...document.querySelectorAll('.mark')].map((mark) => mark.classList[1]))]")

    # By keyboard: the first stop skips to the content; on the timeline, End and Enter open the newest version.
    browser.js("document.activeElement.blur()")
    browser.key("Tab", 9)
    seen["first_stop"] = browser.js("document.activeElement.textContent")
    browser.js("document.querySelector('.plot').focus()")
    browser.key("End", 35)
    seen["cursor"] = browser.js("document.querySelector('.plot').getAttribute('aria-valuetext')")
    browser.key("Enter", 13)
    browser.until("document.querySelector('#version h1')")
    seen["opened"] = browser.js("document.querySelector('#version h1').textContent")
    seen["difference"] = browser.js("[...document.querySelectorAll('#version caption')].map((caption) => caption.textContent)")

    version = browser.js("location.hash")
    for width in (360, 1600):
        for dark in (False, True):
            browser.look(width, dark, calm=dark)
            for view, hash, ready in (("overview", "#/", "#versions tbody tr"), ("version", version, "#version h1")):
                browser.js(f"location.hash = '{hash}'")
                browser.until(f"document.querySelector('{ready}')?.checkVisibility()")
                time.sleep(0.3)
                contrast, where = browser.js(CONTRAST)
                seen["looks"].append({"view": view, "width": width, "dark": dark, "overflow": browser.js("document.documentElement.scrollWidth") - width, "contrast": round(contrast, 2), "least": where})
                browser.shot(f"{view}-{width}-{'dark' if dark else 'light'}")
    browser.js("0")
    seen["problems"] = browser.problems
    return seen


def main():
    program, url, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(program, folder)
        try:
            print(json.dumps(check(browser, url, events)))
        finally:
            browser.process.terminate()
            browser.process.wait()


if __name__ == "__main__":
    main()
