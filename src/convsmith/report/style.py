"""How reports look: one style for tables wherever they are shown, one for charts, one for pages."""

from __future__ import annotations

__all__ = ["CHART_CSS", "PAGE_CSS", "PICTURE_CSS", "SERIES", "SORT", "TABLE_CSS"]

SERIES = 4
"""The number of colours that a chart has."""

# A notebook has a ground of its own, light or dark, so here everything is made from the colour of
# the text; a page adds its accent.
TABLE_CSS = """\
.cs-table{margin:1.75rem 0}
.cs-table .cs-scroll{overflow-x:auto;max-width:100%}
.cs-table table{border-collapse:separate;border-spacing:0;margin:0;border:0;\
font-variant-numeric:tabular-nums}
.cs-table caption{caption-side:top;text-align:left;font-weight:600;padding:0 0 .5rem}
.cs-table th,.cs-table td{padding:.38rem .9rem;text-align:left;vertical-align:top;\
white-space:nowrap;border:0;background:none;\
border-bottom:1px solid color-mix(in srgb,currentColor 13%,transparent)}
.cs-table tr>:first-child{padding-left:0}
.cs-table tr>:last-child{padding-right:0}
.cs-table thead th{vertical-align:bottom;white-space:normal;font-weight:600;font-size:.87em;\
line-height:1.3;border-bottom:1px solid color-mix(in srgb,currentColor 50%,transparent)}
.cs-table tbody th{font-weight:400}
.cs-table tbody tr:last-child>*{border-bottom:0}
.cs-table tfoot>tr>*{font-weight:600;border-bottom:0;\
border-top:1px solid color-mix(in srgb,currentColor 50%,transparent)}
.cs-table .cs-number{text-align:right}
.cs-table td.cs-share{min-width:6rem;\
--bar:color-mix(in srgb,var(--accent,currentColor) 70%,transparent);\
background:linear-gradient(var(--bar),var(--bar)) left bottom -.14rem/var(--share,0%) 3px \
no-repeat content-box border-box;\
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.cs-table td.cs-wrap{white-space:normal;min-width:18rem;max-width:32rem}
.cs-table figcaption{margin-top:.7rem;font-size:.87em;max-width:44rem}
"""

# In a page the text takes the page's colour; a chart that is a file of its own has the reader's.
CHART_CSS = """\
.cs-chart{font:14px system-ui,sans-serif;display:block}
.cs-chart text{fill:currentColor}
.cs-chart .value{font-variant-numeric:tabular-nums}
.cs-chart .heading{font-weight:600}
.cs-chart .track{fill:currentColor;opacity:.09}
.cs-chart .s0{fill:#0072b2}.cs-chart .s1{fill:#d55e00}\
.cs-chart .s2{fill:#009e73}.cs-chart .s3{fill:#cc79a7}
svg:root.cs-chart{color-scheme:light dark;color:CanvasText;background:Canvas}
@media screen and (prefers-color-scheme:dark){\
.cs-chart .s0{fill:#56b4e9}.cs-chart .s1{fill:#e69f00}}
@media print{.cs-chart{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

# What is told by colour is told by form as well: filled, hatched, dashed. A line over cells has a
# rim of the paper's colour, so that it shows on every ground.
PICTURE_CSS = f"""\
{CHART_CSS}\
.cs-chart .small{{font-size:13px}}
.cs-chart path,.cs-chart rect.box,.cs-chart rect.frame,.cs-chart line{{\
vector-effect:non-scaling-stroke}}
.cs-chart .hatch{{fill:none;stroke:#d55e00;stroke-width:1.2}}
.cs-chart .hole{{fill:none;stroke:#d55e00;stroke-width:1}}
.cs-chart .grid{{fill:none;stroke:var(--paper,Canvas);stroke-width:1;stroke-opacity:.55}}
.cs-chart .tap{{fill:none;stroke:currentColor;stroke-width:1;opacity:.3}}
.cs-chart .box{{fill:none;stroke:currentColor;stroke-width:1}}
.cs-chart .rim{{fill:none;stroke:var(--paper,Canvas);stroke-width:3}}
.cs-chart .frame{{fill:none;stroke:currentColor;stroke-width:1.5;stroke-dasharray:5 4}}
.cs-chart .mark{{fill:none;stroke:currentColor;stroke-width:1.5}}
.cs-chart .dots{{fill:none;stroke:currentColor;stroke-width:2;stroke-dasharray:2 3}}
.cs-chart .cover{{fill:var(--paper,Canvas)}}
.cs-chart .area{{fill-opacity:.3}}
.cs-chart .line{{fill:none;stroke:#0072b2;stroke-width:2}}
@media screen and (prefers-color-scheme:dark){{\
.cs-chart .hatch,.cs-chart .hole{{stroke:#e69f00}}.cs-chart .line{{stroke:#56b4e9}}}}
"""

PAGE_CSS = f"""\
:root{{--paper:#fdfdfc;--ink:#1c2024;--muted:#5b636b;--line:#dfe2e5;--accent:#0072b2}}
@media screen and (prefers-color-scheme:dark){{\
:root{{--paper:#15181b;--ink:#e6e9ec;--muted:#9da5ad;--line:#30363c;--accent:#56b4e9}}}}
*{{box-sizing:border-box}}
html{{color-scheme:light dark;-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,sans-serif}}
main{{max-width:76rem;margin:0 auto;padding:clamp(1.5rem,5vw,4.5rem) clamp(1.1rem,4vw,3rem)}}
h1{{font-size:clamp(1.7rem,4vw,2.4rem);line-height:1.15;letter-spacing:-.015em;margin:0 0 1.5rem;\
text-wrap:balance;overflow-wrap:anywhere}}
h2{{font-size:1.3rem;line-height:1.25;margin:3.5rem 0 .9rem;overflow-wrap:anywhere}}
p{{max-width:65ch;margin:0 0 1rem;overflow-wrap:anywhere}}
.facts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));\
gap:1rem;margin:1.75rem 0}}
.facts>div{{display:flex;flex-direction:column;border:1px solid var(--line);border-radius:.6rem;\
padding:1rem 1.2rem 1.1rem;min-width:0}}
.facts dt{{color:var(--muted);font-size:.9rem}}
.facts dd{{margin:0;color:var(--muted);font-size:.9rem;overflow-wrap:anywhere}}
.facts dd.value{{color:var(--ink);font-size:1.9rem;line-height:1.25;font-weight:600;\
letter-spacing:-.01em;font-variant-numeric:tabular-nums}}
.figure{{margin:1.75rem 0;max-width:44rem}}
.figure svg{{max-width:100%}}
figcaption{{color:var(--muted)}}
.figure figcaption{{font-size:.87em;margin-top:.8rem}}
{TABLE_CSS}\
.cs-table table{{font-size:.94rem}}
.cs-scroll{{background:linear-gradient(to left,var(--paper) 40%,transparent) right/3rem 100% local,\
linear-gradient(to left,var(--line),transparent) right/1rem 100% scroll;\
background-repeat:no-repeat}}
.cs-scroll:focus-visible,button:focus-visible{{outline:2px solid var(--accent);outline-offset:3px}}
.cs-table thead button{{all:unset;cursor:pointer}}
.cs-table thead button:hover{{color:var(--accent)}}
.cs-table [aria-sort=ascending] button::after{{content:" ↑"}}
.cs-table [aria-sort=descending] button::after{{content:" ↓"}}
@media (max-width:40rem){{.cs-table tr>:first-child{{position:sticky;left:0;\
background:var(--paper);min-width:min(calc(var(--names) + 1.2rem),10rem);white-space:normal;\
overflow-wrap:anywhere;box-shadow:1px 0 var(--line)}}}}
@media print{{main{{max-width:none;padding:0}}body{{font-size:10pt}}\
.cs-table .cs-scroll{{overflow:visible;background:none}}.cs-table table{{font-size:7.5pt}}\
.cs-table th,.cs-table td{{padding:.25rem .5rem}}.cs-table thead button{{display:contents}}\
tfoot{{display:table-row-group}}tr,.facts>div,.figure{{break-inside:avoid}}\
h2,caption{{break-after:avoid}}figcaption{{break-before:avoid}}h2{{margin-top:2rem}}}}
"""

# Without it the tables stay in the order they were written in. A click on a heading sorts, from
# the largest number or the first name; the third click restores that order.
SORT = """\
for (const table of document.querySelectorAll(".cs-table table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const cell = row => row.cells[column];
    const numeric = rows.some(row => cell(row).dataset.value);
    const orders = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
    const compare = (a, b) => numeric
      ? (cell(a).dataset.value ?? NaN) - (cell(b).dataset.value ?? NaN)
      : cell(a).textContent.localeCompare(cell(b).textContent, undefined, {numeric: true});
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const known = row => !numeric || cell(row).dataset.value !== undefined;
      const sorted = order
        ? [...rows.filter(known).sort((a, b) => sign * compare(a, b)),
           ...rows.filter(row => !known(row))]
        : rows;
      body.append(...sorted);
    };
  });
}
"""
