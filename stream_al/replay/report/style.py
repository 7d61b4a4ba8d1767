"""How a page looks: light, dark and in print."""

from __future__ import annotations

__all__ = ["CSS"]

_LIGHT = """\
--paper:#fff;--panel:#f6f7f9;--ink:#1b1f24;--muted:#5a6472;--rule:#c9d0d8;--grid:#e4e8ec;
--s1:#0b57a4;--s2:#d06a00;--s3:#00806e;--s4:#8e3ba8;--s5:#b8860b;--s6:#5f6b7a;
--bad:#a8201a;--good:#1f6f3d;"""

_DARK = """\
--paper:#14171b;--panel:#1d2126;--ink:#e6e9ed;--muted:#a2adba;--rule:#3b434d;--grid:#2a3037;
--s1:#6cb0f5;--s2:#f5a34a;--s3:#4fd0b8;--s4:#d39be8;--s5:#e3c355;--s6:#9aa6b5;
--bad:#ff8f86;--good:#7ed49b;"""

CSS = f"""\
:root{{color-scheme:light dark;{_LIGHT}}}
@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 3rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif;overflow-wrap:break-word}}
h1{{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}}
h2{{font-size:1.2rem;margin:2.5rem 0 .5rem;padding-top:.5rem;border-top:1px solid var(--rule)}}
h3{{font-size:1rem;margin:1.5rem 0 .25rem}}
p,ul{{margin:.4rem 0;max-width:46rem}}
ul{{padding-left:1.2rem}}
code,pre{{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.85em;overflow-wrap:anywhere}}
pre{{white-space:pre-wrap;background:var(--panel);padding:.6rem .8rem;border-radius:4px;
margin:.4rem 0}}
.muted,figcaption small{{color:var(--muted)}}
.muted{{font-size:.85rem}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;
margin:1rem 0}}
.tiles>div{{background:var(--panel);border:1px solid var(--rule);border-radius:6px;
padding:.6rem .8rem;
break-inside:avoid}}
.tiles dt{{font-size:.85rem;color:var(--muted)}}
.tiles dd{{margin:0;font-size:1.45rem;font-weight:600;font-variant-numeric:tabular-nums;
line-height:1.25}}
.tiles dd small{{display:block;font-size:.8rem;font-weight:400;color:var(--muted);line-height:1.35}}
.charts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1.5rem;
margin:1rem 0}}
figure{{margin:0;break-inside:avoid;page-break-inside:avoid;min-width:0}}
figcaption{{margin-bottom:.3rem}}
figcaption b{{display:block}}
figcaption small{{display:block;font-size:.85rem;line-height:1.4}}
svg.chart{{display:block;width:100%;max-width:36rem;height:auto}}
svg.chart *{{stroke-linejoin:round}}
svg.chart text{{font-family:inherit!important}}
.legend{{list-style:none;padding:0;margin:.2rem 0;display:flex;flex-wrap:wrap;gap:.1rem 1rem;
font-size:.85rem;max-width:36rem}}
.legend li{{overflow-wrap:anywhere;min-width:0}}
.key{{flex:none;width:2rem;height:.7rem;vertical-align:middle;margin-right:.35rem}}
.scroll{{overflow-x:auto;margin:.6rem 0}}
table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}}
th,td{{padding:.25rem .7rem .25rem 0;text-align:right;vertical-align:top;
border-bottom:1px solid var(--grid)}}
th{{font-weight:600}}
tbody th{{font-weight:400}}
th:first-child{{text-align:left;min-width:6rem}}
th bdi{{overflow-wrap:anywhere}}
.words td{{text-align:left}}
.words bdi,.words code{{overflow-wrap:anywhere}}
.firm{{white-space:nowrap}}
.words thead th{{text-align:left}}
.words th:first-child{{max-width:18rem}}
svg.bar{{display:block;width:8rem;height:.8rem;margin:.25rem 0 0 auto}}
.words svg.bar{{margin-left:0}}
.on{{color:var(--bad);font-weight:600}}
.off{{color:var(--good)}}
.best th,.best td{{font-weight:600}}
details summary{{cursor:pointer;margin:.6rem 0}}
@media screen and (min-width:60rem){{.tiles{{grid-template-columns:repeat(4,1fr)}}}}
@page{{size:A4;margin:15mm 14mm}}
@media print{{
html{{font-size:10pt}}
body{{max-width:none;padding:0;font-size:1rem}}
h1{{font-size:16pt}}h2{{font-size:12.5pt;margin-top:1.2rem;
break-after:avoid}}h3{{break-after:avoid}}
p{{orphans:3;widows:3}}
.tiles{{grid-template-columns:repeat(4,1fr)}}
.charts{{grid-template-columns:1fr 1fr;gap:1rem}}
.scroll{{overflow:visible}}
tr,table,.tiles,.tiles>div,.legend{{break-inside:avoid}}
.muted{{break-after:avoid}}
svg.bar{{width:5rem}}
thead{{display:table-header-group}}
table{{font-size:8.5pt}}
details:not([open]) summary::after{{content:" (folded)"}}
}}
"""
"""One style sheet; colours are variables, which the charts use too. Print is always light."""
