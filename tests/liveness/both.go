package main

import (
	"context"
	"strconv"
	"syscall"
	"time"
)

// election is how long a cluster may take to have a leader that places, with its
// default timing.
const election = 3 * time.Second

// both: a worker and the leader are killed in the same instant.
func both(ctx context.Context, l *lab, times int) (string, error) {
	if err := l.witness(ctx); err != nil {
		return "", err
	}
	text := ""
	for _, v := range victims() {
		v.aim = election + leaseTTL
		s := &samples{}
		for i := range times {
			leader, err := l.leader(ctx)
			if err != nil {
				return text, err
			}
			pid := l.nodePid(leader)
			one := v
			one.end = func(w *worker, p int) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				v.end(w, p)
			}
			if err := l.loseOnce(ctx, one, s, v.slug()+"-"+strconv.Itoa(i)); err != nil {
				return text, err
			}
			if err := l.startNode(ctx, leader); err != nil {
				return text, err
			}
		}
		text += v.name + ": " + s.String() + "; "
		if err := l.aim(s, v); err != nil {
			return text, err
		}
	}
	return text, nil
}
