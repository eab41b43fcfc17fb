/// The page's style.
///
/// Colours of the domains are Okabe and Ito's (Color Universal Design, 2008), darker or lighter
/// where a thin line on this background needs it; each domain also has a mark of its own.
enum ReportStyle {
    static let css = #"""

        :root {
          --paper: #ffffff; --raised: #f6f6f3; --ink: #1b1d21; --soft: #5c626c; --rule: #dfe0de;
          --grid: #e8e8e5; --accent: #0072b2; --on-accent: #ffffff; --rest: #c9ccd0; --warm: #fff6e5;
          --c0: #0072b2; --c1: #c94f00; --c2: #00875f; --c3: #b0508c; --c4: #a87400;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --paper: #15171b; --raised: #1e2126; --ink: #e8e9eb; --soft: #a0a7b1; --rule: #343941;
            --grid: #2a2e35; --accent: #56b4e9; --on-accent: #10131a; --rest: #4a505a;
            --warm: #2b261b;
            --c0: #56b4e9; --c1: #ff8a4c; --c2: #3ccf9f; --c3: #e39ac8; --c4: #eab93a;
          }
        }
        @media print {
          :root {
            --paper: #ffffff; --raised: #f6f6f3; --ink: #000000; --soft: #444444; --rule: #cccccc;
            --grid: #e4e4e4; --accent: #0072b2; --on-accent: #ffffff; --rest: #c9ccd0;
            --warm: #ffffff;
            --c0: #0072b2; --c1: #c94f00; --c2: #00875f; --c3: #b0508c; --c4: #a87400;
          }
        }
        * { box-sizing: border-box; }
        [hidden] { display: none !important; }
        html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
        @media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
        body {
          margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem;
          font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
            "Noto Sans", sans-serif;
          color: var(--ink); background: var(--paper); overflow-wrap: break-word;
        }
        a { color: var(--accent); text-underline-offset: .15em; }
        :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
        h1 { font-size: clamp(1.7rem, 4.5vw, 2.6rem); line-height: 1.15; margin: .1em 0 .25em;
          letter-spacing: -.02em; font-weight: 680; }
        h2 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .4rem; letter-spacing: -.01em;
          font-weight: 650; }
        h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; font-weight: 620; }
        h4 { font-size: .95rem; margin: 1.5rem 0 .5rem; font-weight: 620; color: var(--soft); }
        h3 small { font-weight: 400; color: var(--soft); font-size: .92rem; margin-left: .35em; }
        p { margin: .4rem 0; }
        code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
          "DejaVu Sans Mono", monospace; }
        .kicker { font-size: .82rem; color: var(--soft); letter-spacing: .02em; margin: 0; }
        .byline { color: var(--soft); }
        .intro { max-width: 46rem; color: var(--soft); margin-bottom: 1rem; }
        .note { color: var(--soft); font-size: .875rem; max-width: 60rem; }
        .missing { background: var(--warm); border-left: 3px solid var(--c4); padding: .5rem .8rem;
          border-radius: 0 4px 4px 0; font-size: .925rem; max-width: 60rem; }
        section { border-top: 1px solid var(--rule); padding-top: 1.8rem; margin-top: 2.6rem; }
        .tiles { list-style: none; display: grid; gap: .75rem; padding: 0; margin: 1.5rem 0 1.25rem;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)); }
        .tiles li { background: var(--raised); border-radius: 8px; padding: .8rem 1rem .85rem; }
        .tiles strong { display: block; font-size: 1.65rem; line-height: 1.2; font-weight: 640;
          letter-spacing: -.01em; font-variant-numeric: tabular-nums; }
        .tiles span { color: var(--soft); font-size: .875rem; line-height: 1.35; display: block; }
        nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; font-size: .925rem; }
        nav a { text-decoration: none; padding: .15rem 0; }
        nav a:hover { text-decoration: underline; }

        .charts { display: grid; gap: 1.5rem 2.25rem; margin: .75rem 0 .5rem;
          grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr)); }
        .pairs { grid-template-columns: repeat(auto-fit, minmax(min(100%, 20.5rem), 27rem)); }
        @media (min-width: 62rem) { .pairs { grid-template-columns: repeat(2, minmax(0, 27rem)); } }
        .chart { margin: 0; min-width: 0; max-width: 30rem; break-inside: avoid; }
        .chart figcaption { font-weight: 600; font-size: .94rem; margin-bottom: .35rem; }
        .chart svg { display: block; width: 100%; height: auto; overflow: visible; }
        svg text { font-size: 11px; fill: var(--ink); font-family: inherit; }
        svg .end { text-anchor: end; }
        svg .mid { text-anchor: middle; }
        svg .num, svg .axis, svg .note { fill: var(--soft); font-variant-numeric: tabular-nums; }
        svg .axis, svg .note { font-size: 10.5px; }
        svg .name { font-weight: 600; }
        svg .total, svg .value { font-weight: 600; font-variant-numeric: tabular-nums;
          font-size: 12px; }
        svg .small { font-size: 10px; fill: var(--soft); }
        svg .on { fill: var(--on-accent); }
        svg .grid { stroke: var(--grid); stroke-width: 1; }
        svg .rule { stroke: var(--rule); stroke-width: 1; }
        svg .cut { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 3 3; }
        svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
        svg .dashed { stroke-dasharray: 5 4; }
        svg .mark { stroke: var(--paper); stroke-width: .8; }
        svg .hollow { fill: var(--paper); stroke-width: 1.8; }
        svg .hit { fill: transparent; }
        svg .hit:hover { fill: var(--ink); fill-opacity: .07; }
        svg .heat, svg .f-accent { fill: var(--accent); }
        svg .diagonal { fill: none; stroke: var(--rule); stroke-width: 1; }
        svg .f-rest { fill: var(--rest); }
        svg .s-accent { stroke: var(--accent); }
        svg .f-c0 { fill: var(--c0); } svg .s-c0 { stroke: var(--c0); } .b-c0 { background: var(--c0); }
        svg .f-c1 { fill: var(--c1); } svg .s-c1 { stroke: var(--c1); } .b-c1 { background: var(--c1); }
        svg .f-c2 { fill: var(--c2); } svg .s-c2 { stroke: var(--c2); } .b-c2 { background: var(--c2); }
        svg .f-c3 { fill: var(--c3); } svg .s-c3 { stroke: var(--c3); } .b-c3 { background: var(--c3); }
        svg .f-c4 { fill: var(--c4); } svg .s-c4 { stroke: var(--c4); } .b-c4 { background: var(--c4); }
        .swatch { display: inline-block; width: .7em; height: .7em; border-radius: 2px;
          margin-right: .45em; }
        .legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
          margin: .5rem 0; font-size: .875rem; }
        .legend li { display: flex; align-items: center; gap: .4rem; }
        .legend svg { width: 26px; height: 12px; flex: none; }

        details { margin-top: .4rem; font-size: .9rem; }
        summary { cursor: pointer; color: var(--soft); width: fit-content; padding: .1rem 0;
          font-size: .84rem; }
        summary:hover { color: var(--ink); }
        .more { margin-top: .9rem; }
        .more > summary { font-size: .9rem; }
        .scroll { overflow-x: auto; max-width: 100%; max-height: 32rem; overflow-y: auto;
          margin: .35rem 0; }
        table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums;
          line-height: 1.35; }
        caption { text-align: left; color: var(--soft); padding: .1rem 0 .35rem; }
        th, td { padding: .24rem .8rem .24rem 0; text-align: right; white-space: nowrap;
          font-weight: 400; border-bottom: 1px solid var(--grid); }
        thead th { color: var(--soft); font-weight: 500; border-bottom-color: var(--rule); }
        .w { text-align: left; }
        td.w { max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
        tbody th { font-weight: 550; }
        .facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.4rem;
          font-size: .925rem; margin: .5rem 0 1rem; }
        .facts dt { color: var(--soft); }
        .facts dd { margin: 0; overflow-wrap: anywhere; }
        pre { background: var(--raised); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
          max-width: 100%; }

        .lens { margin-top: 1.5rem; }
        .prompt { white-space: pre-wrap; color: var(--soft); border-left: 3px solid var(--rule);
          padding-left: .8rem; max-width: 60rem; font-size: .92rem; max-height: 9rem;
          overflow-y: auto; }
        .photo { display: block; max-width: min(100%, 32rem); max-height: 32rem; width: auto;
          height: auto; image-orientation: none; border-radius: 4px; margin: .75rem 0; }
        .app { display: grid; gap: 1.25rem 2rem; align-items: start; margin-top: .9rem;
          grid-template-columns: minmax(0, 1fr) minmax(0, 1.2fr); }
        .app .photo { max-width: 100%; margin: 0; }
        .left { min-width: 0; }
        .right { min-width: 0; }
        @media (min-width: 62rem) { .left { position: sticky; top: 1rem; } }
        .controls { display: flex; flex-wrap: wrap; gap: .5rem 1.1rem; align-items: center;
          margin-bottom: .7rem; font-size: .875rem; color: var(--soft); }
        .controls label { display: flex; align-items: center; gap: .5rem; }
        .controls input[type=range] { width: 9.5rem; accent-color: var(--accent); }
        .controls output { color: var(--ink); font-weight: 600; min-width: 4.6em;
          font-variant-numeric: tabular-nums; }
        select { font: inherit; color: var(--ink); background: var(--raised);
          border: 1px solid var(--rule); border-radius: 5px; padding: .15rem .35rem; }
        canvas { display: block; max-width: 100%; touch-action: pan-y; cursor: crosshair;
          border-radius: 4px; }
        .scale { display: flex; align-items: center; gap: .5rem; font-size: .78rem;
          color: var(--soft); margin: .45rem 0 .2rem; font-variant-numeric: tabular-nums; }
        .scale i { flex: 1; max-width: 12rem; height: .55rem; border-radius: 3px;
          background: linear-gradient(to right, #00204c, #31446b, #666970, #958f78, #cbba69, #ffe945); }
        .tokens { display: flex; flex-wrap: wrap; gap: .3rem; margin-top: .8rem; max-height: 19rem;
          overflow-y: auto; padding: 2px; }
        .tokens button { font: inherit; font-size: .84rem; line-height: 1.25; color: var(--ink);
          background: var(--raised); border: 1px solid transparent; border-radius: 5px;
          padding: .2rem .45rem; text-align: left; cursor: pointer; max-width: 100%; }
        .tokens button:hover { border-color: var(--rule); }
        .tokens button[aria-pressed=true] { border-color: var(--accent);
          box-shadow: inset 0 0 0 1px var(--accent); }
        .tokens small { display: block; color: var(--soft); font-size: .74rem; max-width: 9rem;
          overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
        .tokens .run { color: var(--soft); border: 1px dashed var(--rule); background: none; }
        .word { white-space: pre; }
        .word i { font-style: normal; opacity: .45; }
        .place { font-weight: 600; margin: 0 0 .1rem; }
        .spoken { color: var(--soft); font-size: .875rem; margin: 0 0 .6rem; min-height: 1.4em; }
        .layers { width: 100%; table-layout: fixed; }
        .layers th, .layers td { padding: .16rem .5rem .16rem 0; cursor: pointer; }
        .layers thead th { cursor: auto; }
        .layers .l { width: 3.1rem; text-align: right; }
        .layers .e { width: 4.4rem; text-align: left; }
        .layers .t { text-align: left; overflow: hidden; }
        .layers tr.now > * { background: var(--raised); }
        .layers tr.now .l { font-weight: 700; box-shadow: inset 3px 0 0 var(--accent); }
        .bar { position: relative; display: block; padding-left: .3rem; }
        .bar::before { content: ""; position: absolute; inset: .12rem auto .12rem 0;
          width: var(--p, 0%); background: var(--accent); opacity: .22; border-radius: 2px; }
        .words { display: flex; gap: .35rem; }
        .guess { position: relative; background: linear-gradient(to right,
          color-mix(in srgb, var(--accent) 26%, transparent) var(--p, 0%), transparent 0);
          border-radius: 3px; padding: 0 .3rem; flex: 1 1 0; min-width: 0; display: flex;
          justify-content: space-between; gap: .25rem; }
        .guess .word { overflow: hidden; text-overflow: ellipsis; min-width: 0; }
        .guess:nth-child(n+4) b { display: none; }
        .guess b { font-weight: 400; color: var(--soft); font-size: .74rem; flex: none; }
        @media (max-width: 52rem) {
          body { padding: 1.5rem 1rem 3rem; }
          /* One below the other, the words for a place right under the picture. */
          .app { display: flex; flex-direction: column; align-items: stretch; gap: 0; }
          .left, .right { display: contents; }
          .place { order: 1; margin-top: .5rem; }
          .spoken { order: 2; margin-bottom: .2rem; }
          .tokens { order: 3; }
          .layers { order: 4; margin-top: .8rem; }
          .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
          .facts dd { margin-bottom: .55rem; }
          .guess:nth-child(n+3) { display: none; }
          .layers .e { width: 3.9rem; }
          .tokens { max-height: 8.5rem; }
        }
        @media print {
          body { max-width: none; padding: 0; font-size: 10.5pt; }
          nav, details:not([open]), .controls { display: none; }
          section { margin-top: 1.4rem; padding-top: 1rem; }
          h2, h3, h4, .intro, .legend, .legend + .note, .prompt { break-after: avoid; }
          .intro, .app, .missing { break-inside: avoid; }
          .scroll, .tokens, .prompt { max-height: none; overflow: visible; }
          .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
          .left { position: static; }
          pre { white-space: pre-wrap; }
          * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
        }

        """#
}
