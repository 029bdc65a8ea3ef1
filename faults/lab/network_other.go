//go:build !linux

package lab

import (
	"errors"
	"syscall"
)

func separate() error                     { return errors.New("it needs Linux") }
func insideAttr() *syscall.SysProcAttr    { return nil }
func enter() error                        { return nil }
func smallDisk(string, int) error         { return separate() }
func newEthernet(*wires) (network, error) { return nil, separate() }
func fillDisk(string) (func(), error)     { return nil, separate() }
