"""A page that plays a picture, pauses it and steps through it; one file, no network."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from convsmith.draw.markup import literal, page_colours
from convsmith.draw.shapes import Picture
from convsmith.draw.svg import HOLD, to_svg
from convsmith.draw.words import phrase, text
from convsmith.report.text import escape

__all__ = ["player"]

_CSS = """\
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.4 system-ui,sans-serif}
main{max-width:54rem;margin:0 auto;padding:1rem}
.cs-scene{width:100%;max-height:82vh}
.bar{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem;padding:.5rem 1rem}
button{font:inherit;min-width:2.75rem;min-height:2.75rem;padding:0 .9rem;border-radius:.5rem;\
border:1px solid var(--faint);background:var(--paper);color:var(--ink);cursor:pointer}
button:hover{border-color:var(--ink)}
button:focus-visible,input:focus-visible{outline:3px solid var(--blue);outline-offset:2px}
input{flex:1 1 8rem;min-width:6rem;height:2.75rem;margin:0;accent-color:var(--blue)}
output{min-width:9rem;color:var(--muted);font-variant-numeric:tabular-nums}
@media print{.bar{display:none}}
"""

# The drawing's own animations are paused and set to the middle of a step's rest: nothing is drawn
# twice, and what is seen here is what the SVG shows.
_SCRIPT = """\
const scene = document.querySelector(".cs-scene");
scene.classList.add("cs-steps");
const [play, back, next] = document.querySelectorAll("button");
const range = document.querySelector("input"), told = document.querySelector("output");
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let step = 0, playing = false, timer = 0;
const moving = () => scene.getAnimations({subtree: true});
const show = to => {
  step = (to + STEPS) % STEPS;
  for (const each of moving()) { each.pause(); each.currentTime = (step + 0.4) * MS; }
  range.value = step;
  range.setAttribute("aria-valuetext", CAPTIONS[step]);
  told.textContent = SAID.replace("#", step + 1);
};
const stop = () => {
  playing = false; clearInterval(timer); play.textContent = PLAY; show(step);
};
const start = () => {
  playing = true; play.textContent = PAUSE;
  if (still) { timer = setInterval(() => show(step + 1), Math.max(MS, 1000)); return; }
  for (const each of moving()) { each.currentTime = step * MS; each.play(); }
  timer = setInterval(() => {
    const [first] = moving();
    step = Math.min(STEPS - 1, Math.floor((first.currentTime % (MS * SLOTS)) / MS));
    range.value = step; told.textContent = SAID.replace("#", step + 1);
  }, 50);
};
play.onclick = () => playing ? stop() : start();
back.onclick = () => { stop(); show(step - 1); };
next.onclick = () => { stop(); show(step + 1); };
range.oninput = () => { const to = +range.value; stop(); show(to); };
show(0);
if (!still) start();
"""


def player(picture: Picture) -> str:
    """The page; it starts by itself unless the reader asks for less motion."""
    language = picture.language
    play = phrase(text("control.play"), language)
    words = {
        "PLAY": play,
        "PAUSE": phrase(text("control.pause"), language),
        "SAID": phrase(text("control.step", number="#", count=picture.steps), language),
        "CAPTIONS": picture.captions,
        "STEPS": picture.steps,
        "SLOTS": picture.steps + HOLD,
        "MS": round(picture.seconds * 1000),
    }
    script = (
        "".join(f"const {name} = {literal(value)};\n" for name, value in words.items()) + _SCRIPT
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    if any(shape.kind == "image" for layer in picture.layers for shape in layer.shapes):
        policy += "; img-src data:"
    tag = "zh-Hans" if language == "zh" else language
    back, next_ = (phrase(text(f"control.{name}"), language) for name in ("back", "next"))
    position = phrase(text("control.position"), language)
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{tag}">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(picture.title)}</title>",
            f"<style>{page_colours(picture.theme)}{_CSS}</style>",
            "</head>",
            "<body>",
            "<main>",
            to_svg(picture),
            '<div class="bar">',
            f'<button type="button">{escape(play)}</button>',
            f'<button type="button" aria-label="{escape(back)}">←</button>',
            f'<button type="button" aria-label="{escape(next_)}">→</button>',
            f'<input type="range" min="0" max="{picture.steps - 1}" value="0" '
            f'aria-label="{escape(position)}">',
            "<output></output>",
            "</div>",
            "</main>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )
