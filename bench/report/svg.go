package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Line is one line of a chart, with a value for each place on the x axis.
type Line struct {
	Name string
	X, Y []float64
	// Dots draws the points alone.
	Dots bool
}

// Chart is one pair of axes. The y axis begins at zero.
type Chart struct {
	Title  string
	XLabel string
	// Places, if any, are the words on the x axis, at 0, 1, 2 and so on;
	// without them x is a number.
	Places []string
	Lines  []Line
}

const (
	width, height        = 720.0, 280.0
	left, right          = 70.0, 20.0
	top, bottom          = 56.0, 44.0
	wanted               = 5 // ticks of an axis, about
	legendStep, wordSize = 18.0, 6.6
)

// style reads well on light and on dark pages.
const style = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.grid { stroke: #d0d7de; stroke-width: 1 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 }
.s2 { stroke: #1a7f37; fill: #1a7f37 } .s3 { stroke: #8250df; fill: #8250df }
polyline { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d }
.s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e }
.s2 { stroke: #3fb950; fill: #3fb950 } .s3 { stroke: #ab7df8; fill: #ab7df8 }
}
`

// SVG draws charts below one another.
func SVG(charts ...Chart) string {
	var b strings.Builder
	total := height * float64(len(charts))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`+"\n<style>%s</style>\n",
		num(width), num(total), num(width), num(total), style)
	for i, c := range charts {
		fmt.Fprintf(&b, "<g transform=\"translate(0 %s)\">\n", num(height*float64(i)))
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *Chart) draw(b *strings.Builder) {
	text(b, "title", "start", left, top-36, c.Title)
	text(b, "", "middle", (left+width-right)/2, height-8, c.XLabel)
	mostX, mostY := c.most()
	stepY := step(mostY)
	topY := math.Max(math.Ceil(mostY/stepY), 1) * stepY
	y := func(v float64) float64 { return height - bottom - v/topY*(height-top-bottom) }
	x := func(v float64) float64 { return left + v/mostX*(width-left-right) }
	if len(c.Places) > 0 {
		x = func(v float64) float64 { return left + (v+0.5)/float64(len(c.Places))*(width-left-right) }
	}
	for v := 0.0; v <= topY*1.0001; v += stepY {
		fmt.Fprintf(b, `<line class="grid" x1="%s" x2="%s" y1="%s" y2="%s"/>`+"\n", num(left), num(width-right), num(y(v)), num(y(v)))
		text(b, "", "end", left-8, y(v)+4, short(v))
	}
	for i, name := range c.Places {
		text(b, "", "middle", x(float64(i)), height-bottom+18, name)
	}
	if len(c.Places) == 0 {
		for v, s := 0.0, step(mostX); v <= mostX*1.0001; v += s {
			text(b, "", "middle", x(v), height-bottom+18, short(v))
		}
	}
	at := left
	for i, l := range c.Lines {
		class := "s" + strconv.Itoa(i%4)
		fmt.Fprintf(b, `<rect class="%s" x="%s" y="%s" width="10" height="10"/>`+"\n", class, num(at), num(top-24))
		text(b, "", "start", at+legendStep-4, top-15, l.Name)
		at += 2*legendStep + wordSize*float64(len(l.Name))
		l.draw(b, class, x, y)
	}
}

func (l *Line) draw(b *strings.Builder, class string, x, y func(float64) float64) {
	var points []string
	for i := range l.Y {
		points = append(points, num(x(l.X[i]))+","+num(y(l.Y[i])))
	}
	if !l.Dots {
		fmt.Fprintf(b, `<polyline class="%s" points="%s"/>`+"\n", class, strings.Join(points, " "))
	}
	const many = 60 // points that stand so close need no dots
	for i := range l.Y {
		if l.Dots || len(l.Y) <= many {
			fmt.Fprintf(b, `<circle class="%s" cx="%s" cy="%s" r="3"/>`+"\n", class, num(x(l.X[i])), num(y(l.Y[i])))
		}
	}
}

func (c *Chart) most() (x, y float64) {
	for _, l := range c.Lines {
		for i := range l.Y {
			x, y = max(x, l.X[i]), max(y, l.Y[i])
		}
	}
	return max(x, 1e-9), max(y, 1e-9)
}

// step is a round number of which a few reach the top.
func step(most float64) float64 {
	raw := most / wanted
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*unit >= raw {
			return m * unit
		}
	}
	return 10 * unit
}

func text(b *strings.Builder, class, anchor string, x, y float64, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(b, `<text%s text-anchor="%s" x="%s" y="%s">%s</text>`+"\n", class, anchor, num(x), num(y), html.EscapeString(s))
}

// num writes a coordinate with at most one decimal.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// short writes a number for an axis or a table.
func short(v float64) string {
	const thousand, million = 1e3, 1e6
	digits := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	switch a := math.Abs(v); {
	case a >= million:
		return digits(v/million) + " M"
	case a >= 10*thousand:
		return digits(v/thousand) + " k"
	case a >= thousand:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return digits(math.Round(v*1e6) / 1e6)
	}
}
