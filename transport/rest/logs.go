package rest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// logRows is how many lines are given when no number is asked for.
const logRows = 1000

type logList struct {
	Pagination pagination `json:"pagination"`
	Rows       []logItem  `json:"rows"`
}

type logItem struct {
	CreatedAt time.Time       `json:"createdAt"`
	Message   string          `json:"message"`
	Metadata  json.RawMessage `json:"metadata"`
	TaskRun   string          `json:"taskExternalId"`
	Name      string          `json:"taskDisplayName"`
	Retry     int32           `json:"retryCount"`
	Attempt   int32           `json:"attempt"`
	Level     string          `json:"level,omitempty"`
}

// logFilter selects log lines. What is empty selects all.
type logFilter struct {
	since, until int64 // wall, Unix nanoseconds
	levels       []string
	search       string // lower case
	attempt      int    // from 1
}

// logs gives the lines that a task run wrote, in the order of their arrival or
// the reverse.
func (s *server) logs(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	f := q.logFilter()
	reverse := q.word("order_by_direction", "ASC", "DESC") == "DESC"
	limit, offset := q.page(logRows)
	if q.err != nil {
		return nil, q.err
	}
	view, t, err := s.findTask(r, tenant)
	if err != nil {
		return nil, err
	}
	var lines []*fsm.LogLine
	for line := range view.Logs(t.ID) {
		if f.selects(line) {
			lines = append(lines, line)
		}
	}
	if reverse {
		slices.Reverse(lines)
	}
	out := logList{Pagination: pages(limit, offset, len(lines)), Rows: []logItem{}}
	for _, line := range lines[min(offset, len(lines)):min(offset+limit, len(lines))] {
		out.Rows = append(out.Rows, logItem{
			CreatedAt: time.Unix(0, line.Wall).UTC(), Message: line.Message, Metadata: object(line.Metadata),
			TaskRun: string(t.ID), Name: view.Task(t).Name, Retry: line.Attempt, Attempt: line.Attempt + 1, Level: levelWord(line.Level),
		})
	}
	return out, nil
}

func (q *query) logFilter() logFilter {
	f := logFilter{search: strings.ToLower(q.text("search")), attempt: q.number("attempt", 0, 1, mostAttempts)}
	var err error
	f.since, err = parseTime("since", q.text("since"), math.MinInt64)
	q.keep(err)
	f.until, err = parseTime("until", q.text("until"), math.MaxInt64)
	q.keep(err)
	for i, text := range q.list("levels") {
		word := levelWord(text)
		if word == "" {
			q.keep(invalid(fmt.Sprintf("levels[%d]", i), text, "must be DEBUG, INFO, WARN or ERROR", ""))
		}
		f.levels = append(f.levels, word)
	}
	return f
}

func (f *logFilter) selects(line *fsm.LogLine) bool {
	return line.Wall >= f.since && line.Wall <= f.until &&
		(len(f.levels) == 0 || slices.Contains(f.levels, levelWord(line.Level))) &&
		(f.attempt == 0 || f.attempt == int(line.Attempt)+1) &&
		strings.Contains(strings.ToLower(line.Message), f.search)
}

// levelWord puts a level into the four words that typed clients know; empty for
// one that is none of them.
func levelWord(level string) string {
	switch word := strings.ToUpper(level); word {
	case "DEBUG", "INFO", "WARN", "ERROR":
		return word
	case "TRACE":
		return "DEBUG"
	case "LOG", "NOTICE":
		return "INFO"
	case "WARNING":
		return "WARN"
	case "CRITICAL", "FATAL":
		return "ERROR"
	}
	return ""
}
