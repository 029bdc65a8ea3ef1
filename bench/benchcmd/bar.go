package benchcmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// bar is one line that shows how far a measurement is, on a terminal only.
type bar struct {
	mu    sync.Mutex
	out   io.Writer // nil when it is no terminal
	shown bool
}

func newBar(w io.Writer) *bar {
	f, ok := w.(*os.File)
	if !ok {
		return &bar{}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return &bar{}
	}
	return &bar{out: f}
}

// set shows a share (0 to 1) and what is being done.
func (b *bar) set(share float64, text string) {
	const width, percent = 30, 100
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = true
	full := int(share * width)
	fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %3.0f %%  %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), share*percent, text)
}

// clear takes the line away.
func (b *bar) clear() {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}
