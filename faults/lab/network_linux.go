package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// ethernet is a network of namespaces. Each host has a TAP device as its only
// interface, and this process is the switch between them. So cuts, loss and delay
// need no module of the kernel beside tun: many kernels come without netem.
type ethernet struct {
	wires *wires

	mu    sync.Mutex
	ports []*port // by the host's number, from 1
}

// port is a host's place at the switch.
type port struct {
	host string
	file *os.File
}

const (
	subnet   = "10.213.77."
	hostMTU  = 8000
	tapFlags = 0x1002 // IFF_TAP, IFF_NO_PI
	tunSetIf = 0x400454ca
	frameMax = hostMTU + 64
)

// separate says whether this process may make namespaces; if not, why.
func separate() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("it needs /dev/net/tun: %w", err)
	}
	_ = f.Close()
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("it needs the program ip (Debian: iproute2)")
	}
	return nil
}

// insideAttr is what the lab's own process needs: whatever it starts, mounts and
// joins goes with it, even if it is killed.
func insideAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
}

// enter makes the new namespaces of this process its own.
func enter() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0}, // where ip keeps the names of namespaces
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// smallDisk mounts a file system of so many MiB.
func smallDisk(dir string, mib int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("small disk: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(mib)+"m"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// newEthernet makes a network whose first host is this process.
func newEthernet(w *wires) (network, error) {
	e := &ethernet{wires: w}
	if err := ip("link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	if _, err := e.plug("lab", ""); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *ethernet) join(host string) (string, error) {
	if err := ip("netns", "add", host); err != nil {
		return "", err
	}
	return e.plug(host, host)
}

// plug gives a namespace its interface.
func (e *ethernet) plug(host, space string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	number := len(e.ports) + 1
	name := "tap" + strconv.Itoa(number)
	file, err := openTAP(name)
	if err != nil {
		return "", err
	}
	addr := subnet + strconv.Itoa(number)
	in := func(words ...string) []string {
		if space == "" {
			return words
		}
		return append([]string{"-n", space}, words...)
	}
	steps := [][]string{
		in("link", "set", "lo", "up"),
		in("link", "set", name, "address", mac(number), "mtu", strconv.Itoa(hostMTU)),
		in("addr", "add", addr+"/24", "dev", name),
		in("link", "set", name, "up"),
	}
	if space != "" {
		steps = append([][]string{{"link", "set", name, "netns", space}}, steps...)
	}
	for _, words := range steps {
		if err := ip(words...); err != nil {
			return "", errors.Join(err, file.Close())
		}
	}
	p := &port{host, file}
	e.ports = append(e.ports, p)
	go e.pump(p)
	return addr, nil
}

// openTAP makes a TAP device that lives as long as the file is open.
func openTAP(name string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	var request [40]byte
	copy(request[:15], name)
	binary.NativeEndian.PutUint16(request[16:], tapFlags)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), tunSetIf, uintptr(unsafe.Pointer(&request[0]))) //nolint:gosec // how this call takes its argument
	if errno != 0 {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("make the device %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// pump carries the frames of one host until its file is closed.
func (e *ethernet) pump(p *port) {
	buf := make([]byte, frameMax)
	for {
		n, err := p.file.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond) // the interface is not up yet
			continue
		}
		if n < 14 {
			continue
		}
		e.carry(p, buf[:n])
	}
}

func (e *ethernet) carry(from *port, frame []byte) {
	e.mu.Lock()
	ports := e.ports
	e.mu.Unlock()
	if frame[0]&1 == 0 { // to one host
		number := int(frame[4])<<8 | int(frame[5])
		if number < 1 || number > len(ports) {
			return
		}
		ports = ports[number-1 : number]
	}
	for _, to := range ports {
		if to == from {
			continue
		}
		pass, delay := e.wires.fate(from.host, to.host)
		switch {
		case !pass:
		case delay > 0:
			late := append([]byte(nil), frame...)
			time.AfterFunc(delay, func() { _, _ = to.file.Write(late) })
		default:
			_, _ = to.file.Write(frame) // a host that is not up loses it
		}
	}
}

func (e *ethernet) command(host string, words ...string) []string {
	return append([]string{"ip", "netns", "exec", host}, words...)
}

func (e *ethernet) rules() *wires { return e.wires }

func (e *ethernet) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.ports {
		_ = p.file.Close()
	}
}

func ip(words ...string) error {
	out, err := exec.Command("ip", words...).CombinedOutput() //nolint:noctx // ends by itself
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", words, err, out)
	}
	return nil
}

// fillDisk leaves no byte free where dir lies; the function returned undoes it.
func fillDisk(dir string) (mend func(), err error) {
	file := filepath.Join(dir, "ballast")
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("fill the disk: %w", err)
	}
	chunk := make([]byte, 64<<10)
	for size := len(chunk); size > 0; {
		if _, err := f.Write(chunk[:size]); err != nil {
			size /= 2
		}
	}
	_ = f.Close()
	return func() { _ = os.Remove(file) }, nil
}
