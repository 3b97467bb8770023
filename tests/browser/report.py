"""What a person does with a report, done in Chromium by Playwright: `report.py FOLDER` opens every page in the folder.

Run by crates/inspect/tests/browser.rs, which writes the pages; `cargo xtask browser` sets everything up. With LASTWORD_SCREENSHOTS=FOLDER
it leaves pictures there, to be looked at.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
NAVIGATION_KEYS = 3


def launch(playwright):
    """Chromium where xtask put it, else the machine's."""
    program = os.environ.get("LASTWORD_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no Chromium: run `cargo xtask browser`, or set LASTWORD_CHROMIUM to its program")
    environment = dict(os.environ)
    if libraries := os.environ.get("LASTWORD_CHROMIUM_LIBRARIES"):
        environment["LD_LIBRARY_PATH"] = libraries
    if root := os.environ.get("LASTWORD_CHROMIUM_ROOT"):
        environment["FONTCONFIG_SYSROOT"] = root
    return playwright.chromium.launch(executable_path=program, env=environment, args=["--disable-gpu"])


class Watched:
    """A page, and all that went wrong or went out while it was open."""

    def __init__(self, browser, path: Path, **options):
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.address = path.as_uri()
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("request", self.request)
        self.page.add_init_script("window.hostile = () => { throw new Error('a payload ran') };")
        self.page.goto(self.address)

    def request(self, request):
        if request.url.split("#")[0] != self.address:
            self.wrong.append(f"request: {request.url}")

    def __enter__(self):
        return self.page

    def __exit__(self, kind, error, trace):
        self.context.close()
        if kind is None:
            assert not self.wrong, self.wrong


def picture(page: Page, name: str, whole: bool = False):
    if folder := os.environ.get("LASTWORD_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def width_overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def opens(browser, path: Path):
    """Every page: nothing wrong, nothing loaded, the verdict first, links that lead somewhere, no script but its own."""
    with Watched(browser, path, viewport=DESKTOP, reduced_motion="reduce") as page:
        expect(page.locator("h1")).to_be_in_viewport()
        expect(page.locator("#tools")).to_be_visible()
        assert width_overflow(page) == 0, f"{path.name} scrolls sideways"
        dead = page.evaluate(
            "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
            ".filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1)))"
        )
        assert not dead, f"{path.name}: {dead}"
        twice = page.evaluate(
            "(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);"
            " return ids.filter((id, at) => ids.indexOf(id) !== at); })()"
        )
        assert not twice, f"{path.name}: {twice}"
        acting = page.evaluate(
            "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on|^style$|^src/.test(a.name))"
            " || ['IFRAME', 'IMG', 'OBJECT', 'EMBED', 'LINK', 'BASE'].includes(e.tagName)).map(e => e.outerHTML.slice(0, 200))"
        )
        assert not acting, f"{path.name}: {acting}"
        assert page.locator("script").count() == 1 and page.locator("style").count() == 1


def narrow(browser, path: Path):
    """On a phone nothing but what is meant to scrolls sideways."""
    with Watched(browser, path, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        assert width_overflow(page) == 0, f"{path.name} is {width_overflow(page)} px too wide for a phone"
        expect(page.locator("h1")).to_be_in_viewport()
        picture(page, f"{path.stem}-phone")


def filters(browser, path: Path):
    """The filter narrows rows, by text, kind and process, says how many are left, and lets go."""
    with Watched(browser, path, viewport=DESKTOP, reduced_motion="reduce") as page:
        rows = page.locator(".row:not([hidden])")
        all_rows = rows.count()
        page.keyboard.press("/")
        expect(page.locator("#filter")).to_be_focused()
        page.keyboard.type("flask.svc")
        expect(page.locator("#count")).to_contain_text(f"of {all_rows} rows")
        left = rows.count()
        assert 0 < left < all_rows, (left, all_rows)
        assert all("flask.svc" in text for text in rows.all_text_contents())
        assert page.locator("#count").text_content() == f"{left} of {all_rows} rows"
        picture(page, "filtered")
        page.keyboard.press("Escape")
        assert rows.count() == all_rows
        page.locator("#kind").select_option("failed")
        failed = rows.count()
        assert 0 < failed < all_rows and page.locator(".row.failed:not([hidden])").count() == failed
        page.locator("#kind").select_option("dns")
        assert 0 < page.locator(".row[data-kind=dns]:not([hidden])").count() == rows.count()
        page.locator("#kind").select_option("")
        page.locator("#process").select_option("nginx")
        assert 0 < rows.count() < all_rows
        page.locator("#filter").fill("no row has this")
        expect(page.locator("#count")).to_have_text(f"0 of {all_rows} rows")


def navigates(browser, path: Path):
    """From evidence to its event, by keys from evidence to evidence, into a run that was closed, and to the help."""
    with Watched(browser, path, viewport=DESKTOP, reduced_motion="reduce") as page:
        link = page.locator("ol.evidence a").last
        target = link.get_attribute("href")
        link.click()
        expect(page.locator(target)).to_be_in_viewport()
        expect(page.locator(target)).to_have_class("row cited current")
        picture(page, "event")
        page.locator("#filter").fill("no row has this")
        expect(page.locator(target)).to_be_hidden()
        page.evaluate("window.scrollTo(0, 0)")
        link.click()
        expect(page.locator(target)).to_be_in_viewport()
        page.locator("h1").click()
        visited = set()
        for _ in range(NAVIGATION_KEYS):
            page.keyboard.press("n")
            expect(page.locator(".current")).to_be_in_viewport()
            visited.add(page.locator(".current").get_attribute("id"))
        assert len(visited) == NAVIGATION_KEYS, visited
        page.keyboard.press("p")
        assert page.locator(".current").get_attribute("id") in visited
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.locator("#close").click()
        expect(page.locator("#help")).to_be_hidden()
        page.locator("details.run").last.evaluate("run => run.open = false")
        alike = page.locator("p.alike a").first
        expect(page.locator(alike.get_attribute("href"))).to_be_hidden()
        alike.click()
        expect(page.locator(alike.get_attribute("href"))).to_be_in_viewport()
        mark = page.locator("details.run[open] svg.timeline a").last
        mark.focus()
        page.keyboard.press("Enter")
        expect(page.locator(mark.get_attribute("href"))).to_be_in_viewport()


def colours(browser, path: Path):
    """Light and dark differ, and text stands out in both (WCAG AA)."""
    papers = []
    for scheme in ("light", "dark"):
        with Watched(browser, path, viewport=DESKTOP, color_scheme=scheme) as page:
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            weak = page.evaluate(CONTRAST)
            assert not weak, f"{scheme}: {weak}"
            picture(page, f"{path.stem}-{scheme}")
            picture(page, f"{path.stem}-{scheme}-whole", whole=True)
    assert papers[0] != papers[1], papers


# Texts whose contrast to what they stand on is below 4.5.
CONTRAST = """(() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const paper = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const weak = new Set();
  for (const element of document.querySelectorAll('main *, header *, footer *')) {
    if (element.closest('svg') || ![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !element.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) weak.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...weak];
})()"""


def without_script(browser, path: Path):
    """The page says all it has to say without its script."""
    with Watched(browser, path, viewport=DESKTOP, java_script_enabled=False) as page:
        expect(page.locator("h1")).to_be_in_viewport()
        expect(page.locator("#tools")).to_be_hidden()
        link = page.locator("ol.evidence a").last
        link.click()
        expect(page.locator(link.get_attribute("href"))).to_be_in_viewport()


def prints(browser, path: Path):
    """On paper there is no filter, and ink is dark also for who reads in the dark."""
    with Watched(browser, path, viewport=DESKTOP, color_scheme="dark") as page:
        page.emulate_media(media="print")
        expect(page.locator("#tools")).to_be_hidden()
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        pdf = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"))
        assert pdf.startswith(b"%PDF-")
        if folder := os.environ.get("LASTWORD_SCREENSHOTS"):
            (Path(folder) / f"{path.stem}.pdf").write_bytes(pdf)


def stays_inert(browser, path: Path):
    """Nothing a hostile capture holds runs, also not when it is hovered, focused, filtered for and clicked; nor where the template failed."""
    with Watched(browser, path, viewport=DESKTOP, reduced_motion="reduce") as page:
        text = page.locator("body").inner_text()
        for spelt_out in ("<script>hostile()</script>", "\\u{202e}", "\\x00", "\\xff"):
            assert spelt_out in text, spelt_out
        raw = page.content()
        for character in "\u202e\u200b\u2028\x00\x1b":
            assert character not in raw, repr(character)
        for row in page.locator(".row:visible").all()[:25]:
            row.hover()
            row.click()
        for option in page.locator("#process option").all():
            page.locator("#process").select_option(option.get_attribute("value"))
        page.locator("#process").select_option("")
        page.locator("#filter").fill("</script><script>hostile()</script>")
        page.wait_for_function("document.getElementById('count').textContent !== ''")
        assert page.evaluate("document.querySelectorAll('script').length") == 1
    context = browser.new_context()
    page = context.new_page()
    ran: list[str] = []
    page.on("console", lambda message: ran.append(message.text) if message.text == "ran" else None)
    # A request that the policy stops is announced, and fails for that reason.
    page.on("requestfailed", lambda request: ran.append(f"{request.url} {request.failure}") if request.failure != "csp" else None)
    page.on("requestfinished", lambda request: ran.append(request.url) if request.url.startswith("http") else None)
    broken = path.with_name("broken-template.html")
    inject = "<script>console.log('ran')</script><img src='http://198.51.100.1/x' onerror='console.log(\"ran\")'><p onclick=\"console.log('ran')\" id=x>x</p>"
    broken.write_text(path.read_text().replace("<main>", f"<main>{inject}", 1))
    page.goto(broken.as_uri())
    page.locator("#x").click()
    broken.unlink()
    context.close()
    assert not ran, f"the policy let through: {ran}"


def main():
    pages = sorted(Path(sys.argv[1]).resolve().glob("*.html"))
    assert pages, "no reports"
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page_of = {path.stem: path for path in pages}
        nginx, hostile = page_of["nginx-upstream"], page_of["hostile"]
        for path in pages:
            opens(browser, path)
            narrow(browser, path)
        for test, path in [
            (filters, nginx),
            (navigates, nginx),
            (colours, nginx),
            (colours, page_of["oom-killed"]),
            (without_script, nginx),
            (prints, nginx),
            (stays_inert, hostile),
        ]:
            print(f"{test.__name__}: {path.stem}", flush=True)
            test(browser, path)
        browser.close()
    print(f"{len(pages)} reports opened in Chromium, on a desktop and on a phone")


main()
