package lab

import (
	"strings"
	"time"

	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

// chart is the timeline of a run, in seconds.
type chart struct {
	seconds float64
	healed  float64
	rows    []row
	// started and finished are runs in each second.
	started, finished []int
	marks             []mark // violations
}

// row is one line of the timeline.
type row struct {
	group string
	name  string
	bars  []bar
}

// bar is a stretch of a row.
type bar struct {
	from, to float64
	class    string
	text     string
}

type mark struct {
	at   float64
	text string
}

// draw makes the timeline of a history.
func draw(l *Lab, h history.History, violations []check.Violation) chart {
	c := chart{}
	for _, e := range h {
		if e.Kind != history.Kept {
			c.seconds = max(c.seconds, e.At.Seconds())
		}
		if e.Kind == history.Healed {
			c.healed = e.At.Seconds()
		}
	}
	c.started, c.finished = make([]int, int(c.seconds)+1), make([]int, int(c.seconds)+1)
	for _, n := range l.nodes {
		c.rows = append(c.rows, nodeRow(n.name, h, c.seconds))
	}
	for _, crew := range l.crews {
		c.rows = append(c.rows, crewRow(crew.name, h, c.seconds))
	}
	c.rows = append(c.rows, faultRows(h, c.seconds)...)
	seen := map[string]bool{}
	for _, e := range h {
		second := int(max(0, e.At.Seconds()))
		switch {
		case e.Kind == history.Assigned && !seen[e.Run]:
			seen[e.Run] = true
			c.started[second]++
		case e.Kind == history.RunFinal:
			c.finished[second]++
		}
	}
	for _, v := range violations {
		c.marks = append(c.marks, mark{v.At.Seconds(), v.String()})
	}
	return c
}

// open is a bar that has begun.
type open struct {
	at    time.Duration
	class string
	text  string
	on    bool
}

func (o *open) end(r *row, at time.Duration) {
	if o.on {
		r.bars = append(r.bars, bar{o.at.Seconds(), at.Seconds(), o.class, o.text})
		o.on = false
	}
}

func nodeRow(name string, h history.History, seconds float64) row {
	r := row{group: "nodes", name: name}
	up, leads := open{class: "up", text: "runs"}, open{class: "leads"}
	for _, e := range h {
		if e.Node != name {
			if e.Kind == history.Leader { // of a later term, whatever this node knows of it
				leads.end(&r, e.At)
			}
			continue
		}
		switch e.Kind {
		case history.NodeStart:
			up.at, up.on = e.At, true
		case history.NodeStop:
			leads.end(&r, e.At)
			up.end(&r, e.At)
			r.bars = append(r.bars, bar{e.At.Seconds(), e.At.Seconds(), "exit", e.Detail + ", " + whyEnded(h, e)})
		case history.Leader:
			leads.end(&r, e.At)
			leads.at, leads.on, leads.text = e.At, true, "leads in term "+itoa(e.Term)
		case leaderEnd:
			leads.end(&r, e.At)
		}
	}
	end := time.Duration(seconds * float64(time.Second))
	leads.end(&r, end)
	up.end(&r, end)
	return r
}

func crewRow(name string, h history.History, seconds float64) row {
	r := row{group: "workers", name: name}
	up, frozen := open{class: "up", text: "runs"}, open{class: "frozen", text: "frozen"}
	for _, e := range h {
		if e.Client != name {
			continue
		}
		switch e.Kind {
		case history.WorkerAttach:
			up.at, up.on = e.At, true
		case history.WorkerStop:
			frozen.end(&r, e.At)
			up.end(&r, e.At)
		case history.WorkerFreeze:
			frozen.at, frozen.on = e.At, true
		case history.WorkerThaw:
			frozen.end(&r, e.At)
		}
	}
	end := time.Duration(seconds * float64(time.Second))
	frozen.end(&r, end)
	up.end(&r, end)
	return r
}

// faultRows gives a row for each kind of fault, in the order of their first.
func faultRows(h history.History, seconds float64) (rows []row) {
	at, begun := map[string]int{}, map[string]history.Event{}
	add := func(b history.Event, to float64) {
		r := &rows[at[b.Op]]
		r.bars = append(r.bars, bar{b.Since.Seconds(), max(to, b.Since.Seconds()+0.2), "fault", b.Op + ": " + b.Detail})
	}
	for _, e := range h {
		switch e.Kind {
		case history.FaultBegin:
			if _, ok := at[e.Op]; !ok {
				at[e.Op] = len(rows)
				rows = append(rows, row{group: "faults", name: strings.TrimPrefix(e.Op, "partition: ")})
			}
			begun[e.Call] = e
		case history.FaultEnd:
			if b, ok := begun[e.Call]; ok {
				add(b, e.At.Seconds())
				delete(begun, e.Call)
			}
		}
	}
	for _, e := range h {
		if b, ok := begun[e.Call]; ok && e.Kind == history.FaultBegin {
			add(b, seconds)
		}
	}
	return rows
}
