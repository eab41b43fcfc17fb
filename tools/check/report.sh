#!/bin/sh
# Opens a report (mmq report) in headless Chromium: at several widths, light and dark, with every
# table unfolded. Fails on an error or a warning of the console, on anything fetched, if the lens
# pages do not build, if a picture of the gallery does not show, if what can be unfolded cannot be reached by
# keyboard, and if the page is wider than the screen. Prints it too: all pictures of the gallery are to be on
# paper. SHOTS=DIR keeps screenshots and the print.
#
#   python3 tools/check report FILE.html
set -eu
[ $# -eq 1 ] || { echo "usage: python3 tools/check report FILE.html" >&2; exit 2; }
[ -f "$1" ] || { echo "no such file: $1" >&2; exit 2; }
for name in chromium chromium-browser google-chrome chrome; do
    if command -v "$name" > /dev/null; then chromium=$name; break; fi
done
if [ -z "${chromium:-}" ]; then
    echo "no Chromium here: the report was not looked at" >&2
    exit 3
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The page with a probe in it that tells the page around it what it found.
cat > "$work/probe.js" << 'PROBE'
<script>
(() => {
  const wrong = [];
  addEventListener('error', e => wrong.push('error: ' + (e.message || e.target.outerHTML)), true);
  addEventListener('securitypolicyviolation', e => wrong.push('fetch: ' + e.blockedURI));
  addEventListener('load', () => setTimeout(() => {
    for (const d of document.querySelectorAll('details')) d.open = true;
    const page = document.documentElement;
    if (page.scrollWidth > innerWidth) {
      const wide = [...document.querySelectorAll('body *')]
        .filter(n => n.getBoundingClientRect().right > innerWidth + 1 && !n.closest('.scroll, pre, svg'))
        .slice(0, 3).map(n => n.tagName + '.' + n.getAttribute('class'));
      wrong.push(`wide: ${page.scrollWidth} > ${innerWidth}: ${wide}`);
    }
    for (const svg of document.querySelectorAll('.shot svg')) {
      const image = document.querySelector(svg.querySelector('use').getAttribute('href'));
      const box = svg.getBoundingClientRect(), shown = svg.querySelector('use').getBBox();
      if (!image || !(box.width > 20 && box.height > 1)) wrong.push('no picture: ' + svg.outerHTML);
      if (!(shown.width > 0)) wrong.push('an empty picture: ' + svg.outerHTML);
      for (const frame of svg.querySelectorAll('.patch')) {
        const b = frame.getBBox();
        if (b.x < -0.1 || b.y < -0.1 || b.x + b.width > shown.width + 0.1
          || b.y + b.height > shown.height + 0.1) wrong.push('a frame beside its picture: ' + svg.outerHTML);
      }
    }
    for (const neuron of document.querySelectorAll('.neuron')) {
      const summary = neuron.querySelector('summary');
      summary.focus();
      if (document.activeElement !== summary) wrong.push('not reached by keyboard: ' + summary.outerHTML);
    }
    for (const lens of document.querySelectorAll('.lens')) {
      if (lens.querySelector('.app').hidden) wrong.push('lens not built: ' + lens.id);
      if (!lens.querySelector('.layers tbody tr')) wrong.push('lens empty: ' + lens.id);
      const canvas = lens.querySelector('canvas');
      if (!canvas) continue;
      // By keyboard: focus takes the first patch, an arrow the next one.
      canvas.focus();
      canvas.dispatchEvent(new FocusEvent('focus'));
      canvas.dispatchEvent(new KeyboardEvent('keydown',
        { key: 'ArrowRight', bubbles: true, cancelable: true }));
      if (!(canvas.height > 0)) wrong.push('no picture: ' + lens.id);
    }
    setTimeout(() => {
      for (const lens of document.querySelectorAll('.lens')) {
        if (!lens.querySelector('canvas')) continue;
        const place = lens.querySelector('.place').textContent;
        if (!/column 2|End of row/.test(place)) wrong.push('keyboard: ' + lens.id + ': ' + place);
      }
      parent.postMessage('PROBE ' + (wrong.length ? 'BAD ' + wrong.join(' | ') : 'GOOD')
        + `, ${document.querySelectorAll('svg[role=img]').length} charts`
        + `, ${document.querySelectorAll('.neuron').length} neurons`
        + `, ${document.querySelectorAll('.lens').length} lens pages, ${innerWidth} wide, `
        + (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'), '*');
    }, 200);
  }, 300));
})();
</script>
PROBE
sed "/<\/head>/{
r $work/probe.js
}" "$1" > "$work/page.html"
grep -q postMessage "$work/page.html" || { echo "not a report: $1" >&2; exit 2; }

# Chromium sometimes hangs as it starts; it is tried a second time.
browse() {
    browse_once "$@" || browse_once "$@"
}
browse_once() {
    timeout -k 5 60 "$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars \
        --user-data-dir="$work/profile" --enable-logging=stderr --v=0 "$@"
}

status=0
for width in 1280 768 360 320; do
    for scheme in light dark; do
        # 0 is dark, 1 is light. A frame, because windows have a least width.
        [ "$scheme" = dark ] && number=0 || number=1
        cat > "$work/frame.html" << FRAME
<script>addEventListener('message', e => { document.title = e.data; });</script>
<iframe src="page.html" width="$width" height="900" style="border: 0"></iframe>
FRAME
        browse --virtual-time-budget=6000 --window-size=1400,1000 \
            "--blink-settings=preferredColorScheme=$number" --dump-dom \
            "file://$work/frame.html" > "$work/dom" 2> "$work/log" || true
        title=$(grep -o '<title>[^<]*' "$work/dom" | head -1 | cut -c8-)
        console=$(grep -a ':CONSOLE' "$work/log" | head -3 || true)
        echo "$width $scheme: ${title:-nothing came back}"
        case $title in
        "PROBE GOOD"*"$width wide, $scheme") ;;
        *) status=1 ;;
        esac
        if [ -n "$console" ]; then
            echo "$console"
            status=1
        fi
        if [ -n "${SHOTS:-}" ]; then
            mkdir -p "$SHOTS"
            cp "$1" "$work/shot.html"
            browse --virtual-time-budget=3000 "--window-size=$width,9000" \
                "--blink-settings=preferredColorScheme=$number" \
                "--screenshot=$SHOTS/$width-$scheme.png" "file://$work/shot.html" \
                > /dev/null 2>&1 || true
        fi
    done
done
# On paper: the neurons' cards are there, and their pictures.
browse --virtual-time-budget=3000 --no-pdf-header-footer "--print-to-pdf=$work/page.pdf" \
    "file://$(realpath "$1")" > /dev/null 2> "$work/log" || true
if [ ! -s "$work/page.pdf" ]; then
    echo "not printed" >&2
    status=1
else
    pictures=$(grep -o '<image id="shot-' "$1" | wc -l)
    drawn=$(grep -a -o '/Subtype */Image' "$work/page.pdf" | wc -l)
    echo "print: $(grep -a -o '/Type */Page\>' "$work/page.pdf" | wc -l) pages, $drawn pictures"
    if [ "$drawn" -lt "$pictures" ]; then
        echo "the gallery's $pictures pictures are not all printed" >&2
        status=1
    fi
fi
if [ -n "${SHOTS:-}" ] && [ -s "$work/page.pdf" ]; then cp "$work/page.pdf" "$SHOTS/print.pdf"; fi
[ $status = 0 ] && echo "the report is well" || echo "the report has problems" >&2
exit $status
