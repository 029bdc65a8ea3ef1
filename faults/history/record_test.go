package history_test

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		r := history.NewRecorder(&file)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { r.Add(history.Event{Kind: history.Begin, Worker: "w", Attempt: 2, Epoch: 3}) })
		}
		wg.Wait()
		time.Sleep(time.Second)
		r.Add(history.Event{Kind: history.Fired, Since: time.Second, Limit: time.Minute})
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		want := r.History()
		if len(want) != 21 || want[20].At != time.Second {
			t.Fatalf("%d events, the last at %v", len(want), want[len(want)-1].At)
		}
		got, err := history.Read(&file)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
		var again bytes.Buffer
		if err := history.Write(&again, want); err != nil {
			t.Fatal(err)
		}
		if got, err := history.Read(&again); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("written at once, read %v, %v; want %v", got, err, want)
		}
	})
}

func TestATornLastLineIsLeftOut(t *testing.T) {
	h, err := history.Read(strings.NewReader("{\"at\":5,\"kind\":\"worker.begin\"}\n{\"at\":6,\"ki"))
	if err != nil || len(h) != 1 || h[0].At != 5 {
		t.Errorf("read %v, %v", h, err)
	}
	if _, err := history.Read(strings.NewReader("{}\nnothing\n{}\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a bad line in the middle: %v", err)
	}
}

func TestSortKeepsTheOrderOfAMoment(t *testing.T) {
	h := history.History{{At: 2, Detail: "c"}, {At: 1, Detail: "a"}, {At: 2, Detail: "d"}, {At: 1, Detail: "b"}}
	h.Sort()
	for i, e := range h {
		if want := "abcd"[i : i+1]; e.Detail != want {
			t.Errorf("at %d is %s, want %s", i, e.Detail, want)
		}
	}
}
