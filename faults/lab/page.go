package lab

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The measures of the timeline, in pixels.
const (
	labelWidth = 170
	chartWidth = 1000
	rowHeight  = 18
	plotHeight = 90
)

func itoa[T ~int | ~int64 | ~uint64](n T) string { return strconv.FormatInt(int64(n), 10) } //nolint:gosec // small

const style = `:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5b6570;--line:#d9dee3;--up:#b9dcc4;--leads:#2f7d4f;--frozen:#8fb3e0;--fault:#e0913c;--bad:#c62f2f;--a:#3f76c4;--b:#2f7d4f}
@media(prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e4e8ec;--soft:#98a2ad;--line:#343b43;--up:#2d4a38;--leads:#5cb883;--frozen:#446a9c;--fault:#c07a2c;--bad:#f06a6a;--a:#6b9fe6;--b:#5cb883}}
body{font:15px/1.45 system-ui,sans-serif;background:var(--bg);color:var(--fg);max-width:1220px;margin:24px auto;padding:0 16px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:24px 0 8px}p{margin:4px 0}.soft{color:var(--soft)}
.kept{color:var(--leads);font-weight:600}.broken{color:var(--bad);font-weight:600}
.figures{display:flex;flex-wrap:wrap;gap:8px 28px;margin:14px 0}.figures div b{display:block;font-size:20px}
.wide{overflow-x:auto}svg{display:block}svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .soft{fill:var(--soft)}
.up{fill:var(--up)}.leads{fill:var(--leads)}.frozen{fill:var(--frozen)}.fault{fill:var(--fault)}.exit{fill:var(--fg)}.grid{stroke:var(--line)}
.pa{fill:none;stroke:var(--a);stroke-width:1.5}.pb{fill:none;stroke:var(--b);stroke-width:1.5}.mark{stroke:var(--bad);stroke-width:2}
table{border-collapse:collapse}td,th{text-align:left;padding:3px 16px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}td.n{text-align:right}
.cols{display:flex;flex-wrap:wrap;gap:8px 48px}.key span{display:inline-block;width:12px;height:12px;margin:0 4px 0 14px;vertical-align:-1px}`

// legend says what the names and counts of the page mean.
const legend = `<h2>How to read it</h2><dl class="soft"><dt>Names<dd>node-1 and so on are the coordinators. agent-1, crew-3 and so on are processes with some of the workers each, the first kind under limpet agent. lab is where the clients are.
<dt>Started and ended runs<dd>Children of runs count too, so there are more than triggers. A run that is replayed ends more than once. FAILED and CANCELLED are ends too: some tasks fail on purpose, clients cancel, and a HARD run fails when its worker does not come back in time.
<dt>Calls of clients<dd>For each kind: invoke, how many were made; then what came of them: ok, refused, or unknown, which is no answer, so that the call may have been done or not. Of results: subscribed, how many were waited for, and delivered.
<dt>State and workers<dd>What the nodes' journals and the workers' own notes say: pins and what set them, assignments and why there, deadlines that ran out; bodies begun and ended, streams cut.
<dt>Violations<dd>One of the ten invariants (docs/architecture.md) that was broken. They are judged over the history that lies in the run's directory with the logs.</dl>`

// page makes the report as one file of HTML.
func page(r *Report) []byte {
	var b bytes.Buffer
	verdict := `<span class="kept">Kept: nothing was violated.</span>`
	if !r.OK() {
		verdict = fmt.Sprintf(`<span class="broken">Broken: %d violations, %d other faults of the run.</span>`, len(r.Violations), len(r.Broken))
	}
	fmt.Fprintf(&b, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Fault lab: %s, seed %d</title><style>%s</style>`,
		html.EscapeString(r.Scenario), r.Seed, style)
	fmt.Fprintf(&b, "<h1>Fault lab: %s, seed %d</h1><p>%s</p>", html.EscapeString(r.Scenario), r.Seed, verdict)
	if r.About != "" {
		fmt.Fprintf(&b, `<p class="soft">%s</p>`, html.EscapeString(r.About))
	}
	where := "each process at a host of its own"
	if !r.Wired {
		where = "all processes on loopback; left out: " + strings.Join(r.LeftOut, ", ")
	}
	fmt.Fprintf(&b, `<p class="soft">%s, %s. %d nodes, %d workers, %d clients; %s.</p>`,
		r.Began.UTC().Format("2 January 2006 15:04 MST"), r.Took.Round(time.Second), r.Nodes, r.Workers, r.Clients, html.EscapeString(where))
	if text := r.Late.String(); text != "" {
		fmt.Fprintf(&b, `<p class="soft">%s</p>`, html.EscapeString(text))
	}
	b.WriteString(`<div class="figures">`)
	for _, f := range []struct {
		n    int
		text string
	}{
		{r.Started, "runs started"},
		{r.Finished, "ends of runs"},
		{r.Open, "runs still open"},
		{r.Bodies, "task bodies executed"},
		{r.FaultSum, "faults"},
		{r.Terms, "terms"},
		{len(r.Violations), "violations"},
	} {
		fmt.Fprintf(&b, "<div><b>%d</b>%s</div>", f.n, f.text)
	}
	b.WriteString("</div>")
	r.findings(&b)
	b.WriteString("<h2>What happened when</h2>" +
		`<p class="key soft"><span style="background:var(--up)"></span>runs<span style="background:var(--leads)"></span>leads<span style="background:var(--frozen)"></span>frozen<span style="background:var(--fault)"></span>fault<span style="background:var(--fg)"></span>end of a process<span style="background:var(--bad)"></span>violation</p>`)
	r.chart.svg(&b)
	b.WriteString(`<h2>Counts</h2><div class="cols">`)
	for _, t := range []struct {
		title  string
		counts map[string]int
	}{{"Faults", r.Faults}, {"Ends of runs", r.Finals}, {"Calls of clients", r.Clientele}, {"State and workers", r.State}} {
		fmt.Fprintf(&b, "<table><tr><th>%s<th>", t.title)
		for _, name := range inOrder(t.counts) {
			fmt.Fprintf(&b, `<tr><td>%s<td class="n">%d`, html.EscapeString(name), t.counts[name])
		}
		b.WriteString("</table>")
	}
	b.WriteString("</div>" + legend + "</html>\n")
	return b.Bytes()
}

// findings are the violations in words.
func (r *Report) findings(b *bytes.Buffer) {
	if r.OK() {
		return
	}
	b.WriteString("<h2>What is wrong</h2><table><tr><th>Invariant<th>At<th>What")
	const most = 50
	for _, v := range r.Violations[:min(most, len(r.Violations))] {
		fmt.Fprintf(b, "<tr><td>%s<td>%.1f s<td>%s", v.Invariant, v.At.Seconds(), html.EscapeString(v.Text))
	}
	for _, text := range r.Broken {
		fmt.Fprintf(b, "<tr><td>run<td><td>%s", html.EscapeString(text))
	}
	b.WriteString("</table>")
}

// svg draws the timeline.
func (c *chart) svg(b *bytes.Buffer) {
	height := plotHeight + 30 + rowHeight*len(c.rows) + 24*3 + 20
	scale := chartWidth / max(1, c.seconds)
	x := func(s float64) float64 { return labelWidth + s*scale }
	fmt.Fprintf(b, `<div class="wide"><svg width="%d" height="%d" role="img" aria-label="timeline">`, labelWidth+chartWidth+20, height)
	step := float64(tick(c.seconds))
	for s := 0.0; s <= c.seconds; s += step {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="14" x2="%.1f" y2="%d"/><text class="soft" x="%.1f" y="10">%.0f s</text>`, x(s), x(s), height, x(s)+2, s)
	}
	if c.healed > 0 {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="14" x2="%.1f" y2="%d" stroke-dasharray="4 3"/><text class="soft" x="%.1f" y="26">healed</text>`, x(c.healed), x(c.healed), height, x(c.healed)+3)
	}
	c.plot(b, x)
	y := plotHeight + 30
	group := ""
	for _, r := range c.rows {
		if r.group != group {
			group = r.group
			y += 20
			fmt.Fprintf(b, `<text class="soft" x="0" y="%d">%s</text>`, y-4, group)
		}
		fmt.Fprintf(b, `<text x="8" y="%d">%s</text>`, y+12, html.EscapeString(r.name))
		for _, bar := range r.bars {
			top, tall := y+2, rowHeight-5
			if bar.class == "leads" || bar.class == "frozen" {
				top, tall = y+5, rowHeight-11
			}
			fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%.1f to %.1f s: %s</title></rect>`,
				bar.class, x(bar.from), top, max(2, (bar.to-bar.from)*scale), tall, bar.from, bar.to, html.EscapeString(bar.text))
		}
		y += rowHeight
	}
	for _, m := range c.marks {
		fmt.Fprintf(b, `<line class="mark" x1="%.1f" y1="14" x2="%.1f" y2="%d"><title>%s</title></line>`, x(m.at), x(m.at), height, html.EscapeString(m.text))
	}
	b.WriteString("</svg></div>")
}

// plot draws the runs of each second.
func (c *chart) plot(b *bytes.Buffer, x func(float64) float64) {
	top := max(1, slices.Max(append(slices.Clone(c.started), c.finished...)))
	line := func(class string, counts []int) {
		var d strings.Builder
		for s, n := range counts {
			fmt.Fprintf(&d, "%.1f,%.1f ", x(float64(s)+0.5), 20+float64(plotHeight)*(1-float64(n)/float64(top)))
		}
		fmt.Fprintf(b, `<polyline class="%s" points="%s"/>`, class, d.String())
	}
	line("pa", c.started)
	line("pb", c.finished)
	fmt.Fprintf(b, `<text class="soft" x="0" y="26">runs per second</text><text class="soft" x="%d" y="30" text-anchor="end">%d</text>`, labelWidth-6, top)
	fmt.Fprintf(b, `<text x="8" y="50" style="fill:var(--a)">started</text><text x="8" y="66" style="fill:var(--b)">finished</text>`)
}

// tick gives the distance of the grid's lines in seconds.
func tick(seconds float64) int {
	for _, t := range []int{1, 2, 5, 10, 30, 60, 300} {
		if seconds/float64(t) <= 16 {
			return t
		}
	}
	return 600
}
