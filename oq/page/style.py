"""The style sheet: one column on a phone, several on a desktop, light and dark.

Colours are Okabe and Ito's blue and vermilion (distinguishable with every kind of colour vision,
"Color Universal Design", 2008), lighter on a dark page; everything shown by colour is also shown by
shape.
"""

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#55606e;
--rule:#d9dee5;--grid:#e6e9ee;--blue:#0b66b0;--wash:#cfe3f4;--red:#c2500c;--tint:#fbe6d8;
--grey:#8792a0}
@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b212a;--ink:#e8ecf1;--soft:#a5b0bd;
--rule:#353e4a;--grid:#2a323d;--blue:#5ab4ee;--wash:#1f4563;--red:#f0914f;--tint:#4a2f1e;
--grey:#7b8796}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.25rem 1rem 3rem}
h1{font-size:1.5rem;line-height:1.2;margin:.2rem 0}
h2{font-size:1.15rem;margin:2.2rem 0 .3rem}
h3{font-size:.95rem;margin:0 0 .5rem}
p{margin:.35rem 0;max-width:46rem}
a{color:var(--blue)}
code,.path{font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;
font-size:.86em;overflow-wrap:anywhere}
.soft,figcaption{color:var(--soft);font-size:.875rem}
.cards{display:grid;gap:.8rem;margin:1rem 0 0;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,20.5rem),1fr))}
.cards>*{min-width:0;margin:0}
.verdict{font-size:1.05rem;border-left:.5rem solid var(--blue);padding:.35rem .8rem;
background:var(--card);border-radius:.4rem;max-width:none}
.verdict.fail{border-color:var(--red)}
.tiles{display:grid;gap:.8rem;margin:1rem 0;
grid-template-columns:repeat(auto-fit,minmax(min(46%,9.5rem),1fr))}
.card,.tile,details.layer{background:var(--card);border:1px solid var(--rule);border-radius:.6rem;
padding:.9rem 1rem;min-width:0}
.card p,.card details{font-size:.9rem}
.tile b{display:block;font-size:1.45rem;line-height:1.25;font-weight:650}
.tile span{display:block;color:var(--soft);font-size:.8125rem}
.note{border:1px solid var(--rule);border-left:.4rem solid var(--grey);background:var(--card);
padding:.7rem 1rem;border-radius:.4rem;margin:1rem 0;font-size:.9rem}
.alert{border:2px solid var(--red);border-left-width:.5rem;background:var(--card);
padding:.7rem 1rem;border-radius:.4rem;margin:1rem 0}
.alert ul,.note ul{margin:.3rem 0;padding-left:1.2rem;max-width:60rem}
li,figcaption,h3{overflow-wrap:anywhere}
details{margin:.3rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:600;border-bottom:1px solid var(--rule)}
th,td{padding:.28rem .8rem .28rem 0;vertical-align:top}
td+td,th+th{white-space:nowrap}
td.wide{white-space:normal;overflow-wrap:anywhere;min-width:8rem}
td.words{white-space:normal}
@media(max-width:30rem){table{font-size:.75rem}th,td{padding-right:.35rem}th+th{white-space:normal}}
td.n,th.n{text-align:right}
th:last-child,td:last-child{padding-right:0}
tr+tr td{border-top:1px solid var(--grid)}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:.4rem;
padding:.7rem;font-size:.8125rem;white-space:pre-wrap;overflow-wrap:anywhere}
figure{margin:0;min-width:0}
figcaption{margin-top:.5rem}
.chart .grid{fill:var(--ink)}
details.layer{margin:.45rem 0;padding:0}
details.layer>summary{padding:.6rem .9rem;cursor:pointer;display:flex;gap:.2rem .7rem;
flex-wrap:wrap;align-items:center;list-style-position:inside}
details.layer>summary svg{width:1rem;height:1rem;flex:none}
details.layer>summary .share{margin-left:auto;color:var(--soft);font-size:.875rem;
padding:0 .4rem;border-radius:.2rem}
details.layer>div{padding:0 .9rem .1rem;margin:0}
summary:focus-visible,a:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
.chart{display:block;width:100%;max-width:30rem;height:auto;overflow:visible}
.chart a{text-decoration:none}.chart a:hover .name{text-decoration:underline}
.chart text{font-size:13px;fill:var(--ink)}
.chart .small{font-size:11.5px;fill:var(--soft)}
.chart .name{font-size:12px;fill:var(--ink)}
.chart .strong{font-weight:700;fill:var(--ink)}.chart .best{fill:var(--blue);font-weight:700}
.axis{stroke:var(--soft)}.faint{stroke:var(--grid)}
.bars{fill:var(--blue)}.cut{fill:var(--red)}.second{fill:var(--card);stroke:var(--red)}
.reach{fill:var(--wash)}.end{stroke:var(--ink);stroke-dasharray:3 3}
.lane{fill:var(--grey)}.lane.strong{fill:var(--blue)}.lane-end{stroke:var(--soft)}
.curve{fill:none;stroke:var(--blue);stroke-width:1.6}
.point{fill:var(--blue)}.ring{fill:var(--card);stroke:var(--red);stroke-width:1.3}
.cell.int8{fill:var(--blue);stroke:var(--blue)}.cell.moved{fill:var(--wash);stroke:var(--blue)}
.cell.float{fill:var(--card);stroke:var(--red)}.cross{stroke:var(--red)}
.node{stroke-width:1.2;fill:var(--card);stroke:var(--grey)}
.node.int8{stroke:var(--blue)}.node.moved{stroke:var(--blue);stroke-dasharray:2 3}
.node.float{stroke:var(--red);stroke-dasharray:6 3}
.node.here{stroke-width:2.2}.node.here.int8{fill:var(--wash)}.node.here.float{fill:var(--tint)}
.node.model{stroke:none;fill:var(--grid)}
.flow{stroke-width:1.6}.flow.codes{stroke:var(--blue)}
.flow.real{stroke:var(--red);stroke-dasharray:6 3}.head{fill:var(--soft)}
.key{display:inline-flex;align-items:center;gap:.35rem;margin-right:1rem}
.key svg{width:.9rem;height:.9rem}
@media print{details.layer{break-inside:avoid}}
"""
