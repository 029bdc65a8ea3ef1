package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	// pageRows is how many rows a list gives that is asked for no number, and
	// mostRows how many may be asked for.
	pageRows = 50
	mostRows = 10_000
)

// query reads the parameters in the URL of a request. The first that is wrong
// is kept as the error; what is read after that does not matter.
type query struct {
	values url.Values
	err    error
}

func newQuery(r *http.Request) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &query{err: invalid("query", r.URL.RawQuery, "must be a valid query: "+err.Error(), "")}
	}
	return &query{values: values}
}

func (q *query) keep(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (q *query) text(name string) string { return q.values.Get(name) }

// list gives the values of a parameter that may be repeated, without the empty
// ones.
func (q *query) list(name string) []string {
	return slices.DeleteFunc(slices.Clone(q.values[name]), func(s string) bool { return s == "" })
}

// number gives a whole number from least to most, or what to take for none.
func (q *query) number(name string, none, least, most int) int {
	text := q.text(name)
	if text == "" {
		return none
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		q.keep(invalid(name, text, fmt.Sprintf("must be a whole number from %d to %d", least, most), ""))
	}
	return n
}

// flag gives true or false, or what to take for none.
func (q *query) flag(name string, none bool) bool {
	text := q.text(name)
	if text == "" {
		return none
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		q.keep(invalid(name, text, "must be true or false", ""))
	}
	return on
}

// word gives one of some words, in capitals; the first for none.
func (q *query) word(name string, words ...string) string {
	text := q.text(name)
	if text == "" {
		return words[0]
	}
	if !slices.Contains(words, strings.ToUpper(text)) {
		q.keep(invalid(name, text, "must be "+strings.Join(words, " or "), ""))
	}
	return strings.ToUpper(text)
}

// id gives an id in lower case; empty for none.
func (q *query) id(name string) string {
	text := q.text(name)
	if text == "" {
		return ""
	}
	id, err := checkID(name, text)
	q.keep(err)
	return id
}

// without refuses parameters that would narrow the answer and are not served:
// an answer as if they had not been given would be a wrong one.
func (q *query) without(names ...string) {
	for _, name := range names {
		if text := q.text(name); text != "" {
			q.keep(refusal(fsm.CodeUnsupported, name, text, "selecting by this parameter is not served", "leave it out"))
		}
	}
}

// page reads which part of a list is wanted.
func (q *query) page(rows int) (limit, offset int) {
	const most = 1 << 30
	return q.number("limit", rows, 1, mostRows), q.number("offset", 0, 0, most)
}

// pages tells where in a list of so many rows an answer stands.
func pages(limit, offset, total int) pagination {
	p := pagination{Current: offset/limit + 1, Pages: max(1, (total+limit-1)/limit)}
	p.Next = min(p.Current+1, max(p.Pages, p.Current))
	return p
}

// parseTime gives a time in Unix nanoseconds, or what to take for none. One SDK
// writes the zone without a colon, and none for a time without one.
func parseTime(field, text string, none int64) (int64, error) {
	if text == "" {
		return none, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, invalid(field, text, "must be a time as in RFC 3339", "for example 2030-01-02T03:04:05Z")
}

// parseStatuses gives the SDKs' words for states in capitals.
func parseStatuses(field string, texts []string) ([]string, error) {
	var out []string
	for i, text := range texts {
		word := strings.ToUpper(text)
		if !slices.Contains(statusWords(), word) {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), text, "must be QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED", "")
		}
		out = append(out, word)
	}
	return out, nil
}

// statusWords are the SDKs' words for states.
func statusWords() []string { return []string{"QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"} }

// parseIDs gives ids in lower case.
func parseIDs[T ~string](field string, texts []string) ([]T, error) {
	var out []T
	for i, text := range texts {
		id, err := checkID(fmt.Sprintf("%s[%d]", field, i), text)
		if err != nil {
			return nil, err
		}
		out = append(out, T(id))
	}
	return out, nil
}

// pair is one entry of metadata that a run must have.
type pair struct{ key, value string }

func parsePairs(field string, texts []string) ([]pair, error) {
	var out []pair
	for i, text := range texts {
		key, value, ok := strings.Cut(text, ":")
		if !ok || key == "" {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), text, "must be key:value", "")
		}
		out = append(out, pair{key, value})
	}
	return out, nil
}
