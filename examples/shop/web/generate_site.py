#!/usr/bin/env python3
"""Writes the pages of the shop into site/: the same files each time.

Usage: generate_site.py [DIRECTORY]
"""

import random
import sys
from pathlib import Path

KINDS = {
    "green": ("Green tea", "#6f8f3c", 75, 2),
    "black": ("Black tea", "#7a3f21", 95, 4),
    "oolong": ("Oolong", "#b07d3a", 90, 3),
    "white": ("White tea", "#b9ac86", 80, 5),
    "herbal": ("Herbal", "#a3466b", 100, 7),
    "smoked": ("Smoked", "#4d4a46", 95, 3),
}
PLACES = ["Upper Fen", "Reed Hollow", "Long Weir", "Saltmarsh", "Nine Willows", "Cold Ford", "Heron Bank", "Old Lock"]
LEAVES = ["Leaf", "Tips", "Needle", "Pearl", "Cloud", "Ember", "Mist", "Bloom", "Harvest"]
NOTES = ["hay", "plum", "toasted rice", "honey", "wet stone", "apricot", "cedar", "sea air", "malt", "violet", "walnut"]
SUBJECTS = ["water", "a warm pot", "patience", "the first picking", "clay", "storage", "the second cup", "rain"]
OPENINGS = [
    "We write this down because we are asked about it so often.",
    "It took us some years to see how little it needs.",
    "Nothing here is new; it was only forgotten.",
    "There are louder opinions than ours on this.",
]
MIDDLES = [
    "Take less of everything than you think, and take more time.",
    "What the leaf gives in the first minute it gives freely; the rest has to be asked for.",
    "Taste it before you change anything, then change one thing.",
    "A cheap scale teaches more than a costly pot.",
]
CLOSINGS = [
    "Come by if you want to try it; the kettle is on from nine.",
    "Write in the guestbook how it went.",
    "The next picking will be different, and so will our advice.",
]

STYLES = {
    "base": """
:root { --ink: #26302b; --paper: #fbfaf5; --reed: #5d7a4c; --line: #d9d6c8; }
* { box-sizing: border-box; }
html { font: 17px/1.6 Georgia, "Times New Roman", serif; color: var(--ink); background: var(--paper); }
body { margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1, h2, h3 { font-weight: normal; line-height: 1.2; }
a { color: var(--reed); }
img { max-width: 100%; height: auto; }
""",
    "theme": """
.bar { background: #2f4a3a; }
.bar a { color: #f4f1e4; text-decoration: none; }
.brand { font-size: 1.4rem; letter-spacing: 0.04em; }
.price { color: #8a4b2a; font-variant-numeric: tabular-nums; }
button { background: #2f4a3a; color: #fff; border: 0; padding: 0.5em 1.2em; }
""",
    "layout": """
.bar { display: flex; gap: 2rem; align-items: baseline; padding: 0.8rem 1.5rem; }
.bar nav { display: flex; gap: 1.2rem; }
.shelf { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1.5rem; padding: 0; }
.shelf li { list-style: none; }
footer.foot { border-top: 1px solid var(--line); margin-top: 3rem; padding: 1.5rem; text-align: center; }
""",
    "product": """
.product { display: grid; grid-template-columns: 16rem 1fr; gap: 2rem; }
.product dl { display: grid; grid-template-columns: 8rem 1fr; }
.product dt { color: #77806f; }
@media (max-width: 40rem) { .product { grid-template-columns: 1fr; } }
""",
    "journal": """
article { max-width: 38rem; }
article time { color: #77806f; }
article p:first-of-type::first-letter { font-size: 2.4em; float: left; line-height: 1; padding-right: 0.08em; }
""",
    "guestbook": """
.entries { padding: 0; }
.entries li { list-style: none; border-left: 3px solid var(--line); padding-left: 1rem; margin: 1rem 0; }
form label { display: block; margin: 0.5rem 0; }
textarea, input { width: 100%; font: inherit; padding: 0.3em; border: 1px solid var(--line); }
""",
    "print": """
@media print { .bar, footer.foot, button { display: none; } html { font-size: 11pt; background: none; } }
""",
}
SCRIPTS = {
    "latest": """
// Shows the newest guestbook entry on the front page.
fetch("/api/guestbook").then((answer) => answer.json()).then((found) => {
  const place = document.getElementById("latest");
  if (!found.entries.length) { place.textContent = "Nobody has signed the guestbook yet."; return; }
  const { name, message } = found.entries[0];
  place.textContent = `${message} (${name}, one of ${found.count})`;
});
""",
    "brew": """
// Counts down while the tea draws.
document.querySelectorAll("[data-minutes]").forEach((button) => button.addEventListener("click", () => {
  let left = Number(button.dataset.minutes) * 60;
  const timer = setInterval(() => {
    button.textContent = left > 0 ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "Pour!";
    if (left-- <= 0) clearInterval(timer);
  }, 1000);
}));
""",
}
INFORMATION = {
    "about": ("About us", "Two people, one boat shed and some three hundred tins."),
    "delivery": ("Delivery", "We send on Tuesdays and Fridays, in paper, by rail where there is one."),
    "returns": ("Returns", "Send back what you do not like. We would rather drink it than argue."),
    "water": ("On water", "Soft water, drawn fresh, and taken off the boil for green and white teas."),
    "contact": ("Contact", "Come to the shed at Heron Bank, or sign the guestbook."),
    "privacy": ("Privacy", "We keep what you write in the guestbook, and nothing else."),
}


def page(title, body, *, styles=(), scripts=()):
    sheets = "\n".join(
        f'<link rel="stylesheet" href="/css/{name}.css">' for name in ("base", "theme", "layout", *styles, "print")
    )
    code = "".join(f'\n<script src="/js/{name}.js" defer></script>' for name in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Heron &amp; Reed</title>
<link rel="icon" href="/img/heron.svg" type="image/svg+xml">
{sheets}{code}
</head>
<body>
<header class="bar"><a class="brand" href="/">Heron &amp; Reed</a><nav><a href="/tea/">Teas</a>
<a href="/journal/">Journal</a><a href="/guestbook">Guestbook</a><a href="/about">About</a></nav></header>
<main>
{body.strip()}
</main>
<footer class="foot"><a href="/delivery">Delivery</a> · <a href="/returns">Returns</a> · <a href="/privacy">Privacy</a></footer>
</body>
</html>
"""


def tin(name, colour, chance):
    """A picture of a tin, with reeds that are nobody else's."""
    reeds = []
    for number in range(7):
        x = 46 + 18 * number + chance.randint(-5, 5)
        top = chance.randint(60, 120)
        bend = chance.randint(-16, 16)
        reeds.append(f'<path d="M{x} 214 Q{x + bend} {(214 + top) // 2} {x + bend // 2} {top}"/>')
    lines = "\n  ".join(reeds)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 260" role="img" aria-label="{name}">
<rect x="24" y="40" width="152" height="196" rx="8" fill="{colour}"/>
<rect x="20" y="24" width="160" height="30" rx="6" fill="{colour}" stroke="#fff" stroke-opacity=".4"/>
<g fill="none" stroke="#fff" stroke-opacity=".7" stroke-width="3" stroke-linecap="round">
  {lines}
</g>
<circle cx="{chance.randint(60, 140)}" cy="{chance.randint(80, 110)}" r="12" fill="#fff" fill-opacity=".8"/>
</svg>
"""


def teas(chance):
    """Twelve teas of each kind."""
    for kind, (title, colour, degrees, minutes) in KINDS.items():
        for number in range(12):
            name = f"{PLACES[(number * 3 + len(kind)) % len(PLACES)]} {LEAVES[(number + len(title)) % len(LEAVES)]}"
            yield {
                "slug": f"{kind}-{number + 1:02d}",
                "kind": kind,
                "name": name,
                "title": title,
                "colour": colour,
                "degrees": degrees - chance.choice([0, 0, 5]),
                "minutes": minutes,
                "price": f"{chance.randint(6, 24)}.{chance.choice(['00', '40', '80'])}",
                "notes": ", ".join(chance.sample(NOTES, 3)),
            }


def shelf(found):
    cell = '<li><a href="/tea/{slug}"><img src="/img/{slug}.svg" alt="" width="130" loading="lazy"><br>{name}</a> <span class="price">{price}</span></li>'
    return '<ul class="shelf">\n' + "\n".join(cell.format(**tea) for tea in found) + "\n</ul>"


def product(tea):
    return """
<h1>{name}</h1>
<div class="product">
<img src="/img/{slug}.svg" alt="A tin of {name}" width="240">
<div>
<p>{title}, with notes of {notes}.</p>
<dl><dt>Water</dt><dd>{degrees} °C</dd><dt>Time</dt><dd>{minutes} minutes</dd><dt>100 g</dt><dd class="price">{price}</dd></dl>
<button data-minutes="{minutes}">Start the clock</button>
<p><a href="/tea/{kind}">All of this kind</a></p>
</div>
</div>""".format(**tea)


def article(number, chance):
    subject = SUBJECTS[number % len(SUBJECTS)]
    title = f"{chance.choice(['On', 'More on', 'A word on', 'Again on'])} {subject}"
    date = f"{2021 + number // 12}-{number % 12 + 1:02d}-{chance.randint(2, 27):02d}"
    paragraphs = [chance.choice(OPENINGS), *chance.sample(MIDDLES, 3), chance.choice(CLOSINGS)]
    text = "\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return title, f'<article>\n<h1>{title}</h1>\n<time datetime="{date}">{date}</time>\n{text}\n</article>'


def files():
    chance = random.Random(7340)
    found = list(teas(chance))
    for name, text in STYLES.items():
        yield f"css/{name}.css", text.lstrip()
    for name, text in SCRIPTS.items():
        yield f"js/{name}.js", text.lstrip()
    for tea in found:
        yield f"img/{tea['slug']}.svg", tin(tea["name"], tea["colour"], chance)
        yield f"tea/{tea['slug']}.html", page(tea["name"], product(tea), styles=["product"], scripts=["brew"])
    for kind, (title, *_) in KINDS.items():
        own = [tea for tea in found if tea["kind"] == kind]
        yield f"tea/{kind}.html", page(title, f"<h1>{title}</h1>\n{shelf(own)}")
    yield "tea/index.html", page("Teas", f"<h1>Teas</h1>\n{shelf(found)}")
    articles = [article(number, chance) for number in range(36)]
    for number, (title, body) in enumerate(articles):
        yield f"journal/{number + 1:02d}.html", page(title, body, styles=["journal"])
    links = "\n".join(f'<li><a href="/journal/{n + 1:02d}">{title}</a></li>' for n, (title, _) in enumerate(articles))
    yield "journal/index.html", page("Journal", f"<h1>Journal</h1>\n<ol>\n{links}\n</ol>")
    for name, (title, text) in INFORMATION.items():
        yield f"{name}.html", page(title, f"<h1>{title}</h1>\n<p>{text}</p>")
    yield "img/heron.svg", tin("Heron and Reed", "#2f4a3a", chance)
    front = '<h1>Tea from the water\'s edge</h1>\n<blockquote id="latest"></blockquote>\n' + shelf(found[::6])
    yield "index.html", page("Tea", front, styles=["guestbook"], scripts=["latest"])
    yield "404.html", page("Not found", "<h1>There is nothing here</h1>\n<p>The heron has moved on.</p>")
    yield (
        "unavailable.html",
        page("Back soon", "<h1>Back in a moment</h1>\n<p>The pages are here; the guestbook rests.</p>"),
    )
    yield "robots.txt", "User-agent: *\nAllow: /\n"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("site"))
    for name, text in files():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
