package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// keys gives the cluster key and those that are accepted beside it; none for a
// dev node without one.
func (s *settings) keys() (primary []byte, others [][]byte, err error) {
	text := s.ClusterKey
	if s.ClusterKeyFile != "" {
		raw, err := os.ReadFile(s.ClusterKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, s.bad("cluster-key-file", s.ClusterKeyFile, "no such file; make one with `limpet keygen`")
		} else if err != nil {
			return nil, nil, fmt.Errorf("read the cluster key: %w", err)
		}
		text = string(raw)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
			return nil, nil, errors.New("setting cluster-key: must be 16, 24 or 32 bytes in base64, as `limpet keygen` prints")
		}
		if primary == nil {
			primary = key
		} else {
			others = append(others, key)
		}
	}
	if primary == nil && !s.Dev {
		return nil, nil, errors.New("setting cluster-key is empty: make one with `limpet keygen` and give all nodes the same (or --dev on a machine of your own)")
	}
	return primary, others, nil
}

// reloadKeys reads the key file anew at each SIGHUP, until ctx ends. What cannot
// be used changes nothing.
func (p *program) reloadKeys(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		primary, others, err := p.s.keys()
		if err == nil {
			err = p.node.SetKeys(primary, others)
		}
		if err != nil {
			p.log.Error("SIGHUP: the cluster keys stay as they are", "error", err)
		}
	}
}
