"""The studio in a real browser: it works, says nothing in the console, and asks nobody else."""

import base64
import io
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from scorefield.serve.seen import nearest_in_training
from scorefield.serve.service import Service
from scorefield.serve.work import png
from tests.serve import runs
from tests.serve.conftest import alive
from tests.serve.test_http import picture, pixels


class Page:
    def __init__(self, browser: Any, url: str, path: str, width: int = 1200, scheme: str = "light"):
        self.tab, self.url = browser.tab(), url
        self.tab.open(url + path, width, scheme=scheme)
        self.until("document.querySelector('main')")

    def run(self, script: str) -> Any:
        return self.tab.run(script)

    def until(self, script: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never: {script}; {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, text: str) -> None:
        """The button of that text."""
        found = f"[...document.querySelectorAll('button')].find(b => b.textContent === '{text}')"
        self.run(f"{found}.click()")

    def done(self) -> None:
        self.until("document.querySelector('.status')?.textContent.startsWith('done')")

    def complaints(self) -> list[str]:
        found = []
        for event in self.tab.events:
            told = event["params"]
            if event["method"] in (
                "Runtime.exceptionThrown",
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
            ):
                found.append(str(told))
            if event["method"] == "Network.requestWillBeSent":
                url = told["request"]["url"]
                if not url.startswith((self.url, "data:", "blob:")):
                    found.append(f"asked for {url}")
        wide = self.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        unnamed = self.run(
            "[...document.querySelectorAll('button, input:not([hidden]), select')].filter(e => !("
            "e.textContent.trim() || e.ariaLabel || e.closest('label')?.innerText.trim())).length"
        )
        return [*found, *["too wide"] * (wide > 0), *["a control has no name"] * (unnamed > 0)]


SHOWN = "[...document.querySelectorAll('.tile img')].filter(i => i.naturalWidth > 0).length"


@pytest.mark.parametrize("scheme, paper", [("light", 255), ("dark", 24)])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_link_makes_its_pictures(browser, live, tmp_path, width, scheme, paper):
    page = Page(browser, live.url, "/#n=6&seed=3&steps=5&labels=2&go=1", width, scheme)
    page.done()
    page.until(f"{SHOWN} === 6")
    page.run("document.querySelectorAll('.tile')[2].click()")
    page.until("document.querySelector('.detail img')")
    own = live.client.post("/v1/samples", json={"n": 6, "seed": 3, "steps": 5, "label": 2}).json()
    href = page.run("document.querySelector('a[download]').href")
    assert href.endswith(own["samples"][2]["png"])
    assert page.run("document.querySelector('a[download]').download") == "digits-5.png"
    shot = Image.open(io.BytesIO(page.tab.screenshot(tmp_path / "page.png")))
    assert abs(int(np.asarray(shot.convert("L"))[-1, -1]) - paper) < 8
    assert page.complaints() == []


def test_the_way_from_noise_is_walked_step_by_step(browser, live):
    page = Page(browser, live.url, "/#n=2&seed=1&steps=7&go=1")
    page.done()
    page.run("document.querySelector('.tile').click()")
    page.until("document.querySelector('.detail input[type=range]')?.max === '6'")
    seen = set()
    for k in (0, 3, 6):
        page.run(
            f"(r => {{ r.value = {k}; r.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
            "(document.querySelector('.detail input[type=range]'))"
        )
        page.until(f"document.querySelector('.detail').innerText.includes('Step {k + 1} of 7')")
        seen.add(page.run("document.querySelector('.detail img').src"))
    assert len(seen) == 3
    assert page.complaints() == []


def test_two_settings_on_the_same_seeds(browser, live):
    page = Page(browser, live.url, "/#tab=compare&n=3&steps=4&b_solver=ddim&b_steps=6&go=1")
    page.done()
    page.until(f"{SHOWN} === 6")
    heads = page.run("[...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert heads == [
        "A: arc, 4 steps, vp-closing, guidance 1",
        "B: ddim, 6 steps, vp-root, guidance 1",
    ]
    page.run("document.querySelectorAll('.tile')[1].click()")
    page.until("document.querySelectorAll('.over img').length === 2")
    clip = page.run("document.querySelectorAll('.over img')[1].style.clipPath")
    assert re.match(r"inset\(0(px)? 0(px)? 0(px)? 50%\)", clip)
    assert page.complaints() == []


def upload(page: Page, base64: str, accept: str) -> None:
    """Without fetch, which the policy lets ask nobody else, data: included."""
    page.run(f"""(() => {{
      const bytes = Uint8Array.from(atob('{base64}'), c => c.charCodeAt(0));
      const moved = new DataTransfer();
      moved.items.add(new File([bytes], 'one.png', {{type: 'image/png'}}));
      const input = document.querySelector('input[accept="{accept}"]');
      input.files = moved.files;
      input.dispatchEvent(new Event('change', {{bubbles: true}}));
    }})()""")


def test_a_picture_is_edited_inside_a_mask(browser, live):
    page = Page(browser, live.url, "/#tab=edit&n=2&steps=6", 390)
    upload(page, picture(), "image/*")
    page.until("document.querySelector('canvas')")
    page.press("Upper half")
    page.press("Make")
    page.done()
    page.until(f"{SHOWN} === 2")
    lower = page.run("""(() => {
      const image = document.querySelector('.tile img'), ink = document.createElement('canvas');
      ink.width = ink.height = 8;
      ink.getContext('2d').drawImage(image, 0, 0);
      return [...ink.getContext('2d').getImageData(0, 4, 8, 4).data].filter((_, i) => i % 4 === 0);
    })()""")
    assert set(lower) == {100}
    assert page.complaints() == []


def test_a_restoration_a_strip_and_an_anagram(browser, live):
    page = Page(browser, live.url, "/#tab=restore&n=2&steps=4&operator=pool:2&method=ddrm", 390)
    upload(page, picture(), "image/*")
    page.until("document.querySelector('img.draw')")
    page.press("Make")
    page.done()
    page.until("document.querySelector('img[alt=\"the measurement\"]')?.naturalWidth === 4")
    page = Page(browser, live.url, "/#tab=between&seed=1&other=5&between=4&labels=3&go=1", 390)
    page.done()
    page.until(f"{SHOWN} === 6")
    page = Page(browser, live.url, "/#tab=anagram&n=2&labels=3,8&views=identity,rot180&go=1", 390)
    page.done()
    page.until("document.querySelectorAll('.gallery img').length === 6")
    assert page.complaints() == []


def test_a_picture_recalls_its_settings(browser, live):
    said = {"n": 3, "seed": 40, "label": 6, "steps": 4, "solver": "heun", "guidance": 2.0}
    png = live.client.post("/v1/samples", json=said).json()["samples"][1]["png"]
    page = Page(browser, live.url, "/")
    upload(page, png, "image/png")
    page.until("location.hash.includes('solver=heun')")
    assert "seed=41" in page.run("location.hash")
    page.press("Make")
    page.done()
    page.run("document.querySelector('.tile').click()")
    page.until("document.querySelector('a[download]')")
    again = page.run("document.querySelector('a[download]').href").partition("base64,")[2]
    assert np.array_equal(pixels(again), pixels(png))


def test_the_queue_the_runs_and_points(browser, live):
    page = Page(browser, live.url, "/#tab=queue")
    long = {"n": 64, "steps": 1000, "guidance": 2.0}
    live.client.post("/v1/samples", json=long, headers={"prefer": "respond-async"})
    page.until("document.querySelectorAll('tbody tr').length === 1")
    page.press("Stop")
    page.until("document.body.innerText.includes('Nothing waits.')")
    page.run("[...document.querySelectorAll('[role=tab]')].at(-1).click()")
    page.until("document.querySelectorAll('tbody tr').length === 2")
    assert (
        page.run("document.querySelector('tbody a').getAttribute('href')")
        == "/v1/models/digits/report"
    )
    assert page.complaints() == []
    page = Page(browser, live.url, "/#model=points&n=20&go=1", 390)
    page.done()
    page.until("document.querySelectorAll('circle').length === 20")
    report = browser.tab()
    report.open(f"{live.url}/v1/models/digits/report")
    assert report.run("document.title") == "digits · Scorefield"
    assert not [
        e for e in report.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]


def test_texts_and_rows_are_read(browser, tmp_path):
    """As they come, step by step; filled in where it is asked."""
    named = {name: runs.SPACES[name](tmp_path / name) for name in ("letters", "table")}
    with alive(Service(named)) as url:
        page = Page(browser, url, "/#model=letters&n=4&fill=a_b_&go=1", 390)
        page.done()
        texts = page.run("[...document.querySelectorAll('.texts li')].map(li => li.textContent)")
        assert len(texts) == 4
        assert all(text[0] + text[2] == "ab" for text in texts)
        assert page.complaints() == []
        page = Page(browser, url, "/#model=table&n=5&go=1", 390, "dark")
        page.done()
        heads = page.run("[...document.querySelectorAll('th')].map(h => h.textContent)")
        assert heads == ["colour", "n", "same"]
        page.until("document.querySelectorAll('tbody tr').length === 5")
        assert page.complaints() == []


def chosen(page: Page, label: str, value: str) -> None:
    """That of the list of this label."""
    page.run(f"""(() => {{
      const labels = [...document.querySelectorAll('label')];
      const select = labels.find(l => l.innerText.startsWith('{label}')).querySelector('select');
      select.value = '{value}';
      select.dispatchEvent(new Event('change', {{bubbles: true}}));
    }})()""")


@pytest.mark.parametrize("width", [390, 1280])
def test_other_averages_and_second_stages(browser, tmp_path, width):
    """Asked for where the run has them, and only there; recalled from a picture."""
    named = {"digits": runs.digits(tmp_path / "digits"),
             "large": runs.of_twice_the_size(tmp_path / "large")}  # fmt: skip
    runs.averaged(named["digits"], 0.05, 0.2)
    (named["digits"] / "averages" / "notes.safetensors").touch()
    with alive(Service(named)) as url:
        page = Page(browser, url, "/#n=2&seed=3&steps=4&labels=2", width)
        told = page.run("document.querySelector('form').innerText")
        assert ("Average of the weights" in told, "Made larger by" in told) == (True, True)
        assert "noised" not in told
        assert page.run("document.querySelector('select').value") == "digits"
        chosen(page, "Average", "0.2")
        chosen(page, "Made larger by", "large")
        page.until("document.querySelector('form').innerText.includes('noised')")
        assert "average=0.2&cascade=large" in page.run("location.hash")
        page.run("location.hash += '&augment=.3'")
        page.press("Make")
        page.done()
        page.until("document.querySelector('.tile img').naturalWidth === 16")
        page.run("document.querySelectorAll('.tile')[1].click()")
        page.until("document.querySelector('a[download]')")
        made = page.run("document.querySelector('a[download]').href").partition("base64,")[2]
        said = {
            "seed": 4,
            "steps": 4,
            "label": 2,
            "average": 0.2,
            "cascade": "large",
            "augment": 0.3,
        }
        own = httpx.post(f"{url}/v1/samples", json=said).json()["samples"][0]["png"]
        assert np.array_equal(pixels(made), pixels(own))
        page.tab.screenshot(tmp_path / "page.png")
        assert page.complaints() == []
        page = Page(browser, url, "/", width)
        upload(page, own, "image/png")
        page.until("location.hash.includes('augment=0.3')")
        assert "average=0.2&cascade=large" in page.run("location.hash")
        chosen(page, "Made larger by", "")
        page.until("!location.hash.includes('cascade') && !location.hash.includes('augment')")
        page = Page(browser, url, "/#model=large", width)
        assert page.run("document.querySelector('select').value") == "large"
        told = page.run("document.querySelector('form').innerText")
        assert ("Average of the weights" in told, "Made larger by" in told) == (False, False)


def test_two_settings_span_a_table_of_one_seed(browser, live, tmp_path):
    link = "/#tab=xy&seed=4&labels=3&x=steps&xs=2+5&y=solver&ys=ddim+heun&go=1"
    page = Page(browser, live.url, link, 390)
    page.done()
    page.until(f"{SHOWN} === 4")
    heads = page.run("[...document.querySelectorAll('th')].map(h => h.textContent)")
    assert heads == ["steps 2", "steps 5", "solver ddim", "solver heun"]
    assert page.run("[...document.querySelectorAll('select')].slice(-2).map(s => s.value)") == [
        "steps", "solver",
    ]  # fmt: skip
    shown = page.run("[...document.querySelectorAll('.tile img')].map(i => i.src)")
    for one, (steps, solver) in zip(shown, [(2, "ddim"), (5, "ddim"), (2, "heun"), (5, "heun")]):
        said = {"seed": 4, "label": 3, "steps": steps, "solver": solver}
        (own,) = live.client.post("/v1/samples", json=said).json()["samples"]
        assert np.array_equal(pixels(one.partition("base64,")[2]), pixels(own["png"]))
    page.run("document.querySelectorAll('.tile')[3].click()")
    page.until("document.querySelector('.detail img')?.src === [...document.images].at(-1).src")
    page.tab.screenshot(tmp_path / "page.png")
    assert page.complaints() == []


def test_the_nearest_training_pictures(browser, live, tmp_path):
    """Also of a training picture itself, which is as near as 8 bits are."""
    run = live.service.networks["digits"].run
    train = run.config.load_data(run.path).train
    content = base64.b64decode(png(run.info.scaling.encode(train.x[7:8])))
    found = nearest_in_training(run, content)
    assert found[0]["index"] == 7
    assert found[0]["distance"] < 1 / 255 < 0.1 < found[1]["distance"]
    assert found[0]["label"] == str(int(train.cond["label"][7]))
    far = [row["distance"] for row in found]
    assert far == sorted(far)
    assert len(far) == 8
    page = Page(browser, live.url, "/#n=2&seed=3&steps=5&go=1", 390, "dark")
    page.done()
    page.run("document.querySelectorAll('.tile')[1].click()")
    page.until("document.querySelector('.detail img')")
    page.press("Nearest in training")
    page.until("document.querySelectorAll('figure img').length === 8")
    page.tab.screenshot(tmp_path / "page.png")
    assert page.complaints() == []


def test_the_losses_of_a_run_in_training(browser, live, tmp_path):
    log = live.service.networks["digits"].run.path / "log.jsonl"
    page = Page(browser, live.url, "/#tab=runs", 390)
    page.until("document.querySelectorAll('tbody tr').length === 2")
    assert page.run("document.querySelector('svg.curve')") is None
    log.write_text("".join(f'{{"images": {i}, "loss": {2 / i}}}\n' for i in range(1, 500)))
    page.until("document.querySelector('svg.curve')")
    with log.open("a") as file:
        file.write('{"images": 700, "loss": 0.125}\n{"images": 800, "lo')
    page.until("document.body.innerText.includes('in training 700')")
    assert "0.125" in page.run("document.querySelector('tbody tr').innerText")
    told = live.client.get("/v1/models/digits/log").json()
    assert (len(told["images"]) <= 200, told["images"][-1], told["loss"][-1]) == (True, 700, 0.125)
    page.tab.screenshot(tmp_path / "page.png")
    log.unlink()
    assert page.complaints() == []


def test_a_refusal_is_said_in_its_words(browser, live):
    page = Page(browser, live.url, "/#labels=77&go=1")
    page.until("document.querySelector('.status.bad')")
    assert "0 to 9" in page.run("document.querySelector('.status').textContent")


def test_the_keys_turn_the_tabs(browser, live):
    page = Page(browser, live.url, "/")
    page.run("document.querySelector('[role=tab]').focus()")
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowRight", "ArrowLeft"):
        for kind in ("keyDown", "keyUp"):
            page.tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
    assert page.run("document.activeElement.textContent") == "Runs"
    assert page.run("document.querySelector('[aria-selected=true]').textContent") == "Runs"


def test_nothing_of_the_page_comes_from_elsewhere():
    for file in (Path(__file__).parents[2] / "scorefield/serve/page").rglob("*.*"):
        if file.suffix != ".txt":
            assert not re.findall(r"https?://(?!www\.w3\.org)", file.read_text()), file
