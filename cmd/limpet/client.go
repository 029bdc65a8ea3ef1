package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// client is what the operators' commands share: where to call, as whom, and
// how to print.
type client struct {
	io     stdio
	addr   string
	token  string
	output string
	wait   time.Duration
}

func (c *client) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.addr, "addr", "", "host:port of any node, or several with commas (default LIMPET_ADDR, else HATCHET_CLIENT_HOST_PORT, else ./.limpet-dev/addr, else 127.0.0.1:7077)")
	f.StringVar(&c.token, "token", "", "admin token (default LIMPET_TOKEN, else HATCHET_CLIENT_TOKEN, else ./.limpet-dev/token)")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	f.DurationVar(&c.wait, "timeout", 15*time.Second, "how long to wait for an answer")
}

func (c *client) json() bool { return c.output == "json" }

func (c *client) checkOutput() error {
	if c.output != "table" && c.output != "json" {
		return &exitError{code: exitUsage, err: fmt.Errorf("--output is %q: must be table or json", c.output)}
	}
	return nil
}

const devDir = ".limpet-dev"

// target gives the addresses to try, in order.
func (c *client) target() ([]string, error) {
	text := c.addr
	for _, name := range []string{"LIMPET_ADDR", "HATCHET_CLIENT_HOST_PORT"} {
		if text == "" {
			text = os.Getenv(name)
		}
	}
	if text == "" {
		text = readLine(filepath.Join(devDir, "addr"))
	}
	if text == "" {
		text = "127.0.0.1:7077"
	}
	var out []string
	for a := range strings.SplitSeq(strings.TrimPrefix(text, "ipv4:"), ",") {
		a = strings.TrimSpace(a)
		if !hasPort(a) {
			return nil, &exitError{code: exitUsage, err: fmt.Errorf("--addr is %q: must be host:port of a node's gRPC, without http://, or several with commas", text)}
		}
		out = append(out, a)
	}
	return out, nil
}

// findToken gives the token, and where it is from; nothing if there is none.
func (c *client) findToken() (token, from string) {
	file := filepath.Join(devDir, "token")
	for _, t := range []struct{ token, from string }{
		{c.token, "--token"},
		{os.Getenv("LIMPET_TOKEN"), "LIMPET_TOKEN"},
		{os.Getenv("HATCHET_CLIENT_TOKEN"), "HATCHET_CLIENT_TOKEN"},
		{readLine(file), file},
	} {
		if t.token != "" {
			return t.token, t.from
		}
	}
	return "", ""
}

// hasPort reports whether the text is a host and the number of a port.
func hasPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// credentials gives the token: from the first place of the same order as the
// address, or the two could belong to different clusters.
func (c *client) credentials() (string, error) {
	if token, _ := c.findToken(); token != "" {
		return token, nil
	}
	return "", &exitError{code: exitUsage, err: errors.New("no token: give --token, LIMPET_TOKEN or HATCHET_CLIENT_TOKEN; a node's admin token is in its data directory, in the file admin.token, as soon as the cluster has formed (/readyz on a node's HTTP port says what it waits for)")}
}

func readLine(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// dial opens a connection that tries the addresses in order.
func dial(addrs []string) (*grpc.ClientConn, error) {
	r := manual.NewBuilderWithScheme("limpet")
	var list []resolver.Address
	for _, a := range addrs {
		list = append(list, resolver.Address{Addr: a})
	}
	r.InitialState(resolver.State{Addresses: list})
	const largest = 64 << 20
	conn, err := grpc.NewClient("limpet:///cluster", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(addrs, ", "), err)
	}
	return conn, nil
}

// do makes one call to any node. A zero timeout waits for ever.
func (c *client) do(ctx context.Context, timeout time.Duration, call func(context.Context, limpetv1.AdminClient) error) error {
	if err := c.checkOutput(); err != nil {
		return err
	}
	addrs, err := c.target()
	if err != nil {
		return err
	}
	token, err := c.credentials()
	if err != nil {
		return err
	}
	nodes := &anyNode{}
	for i := range addrs {
		// Each begins with another node, and goes on to those that can be reached.
		conn, err := dial(slices.Concat(addrs[i:], addrs[:i]))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		nodes.conns = append(nodes.conns, conn)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "bearer "+token)
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if err := call(ctx, limpetv1.NewAdminClient(nodes)); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // gRPC has many words for it
			err = status.Errorf(codes.DeadlineExceeded, "no answer within %s", timeout)
		}
		err = explain(err, addrs)
		if codeOf(err) == exitDenied {
			_, from := c.findToken()
			return fmt.Errorf("%w (asked was %s, with the token from %s)", err, strings.Join(addrs, ", "), from)
		}
		return err
	}
	return nil
}

// explain turns a status into words and an exit code.
func explain(err error, addrs []string) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := errors.New(st.Message())
	switch st.Code() {
	case codes.NotFound:
		return &exitError{code: exitNotFound, err: text, refused: true}
	case codes.Unauthenticated, codes.PermissionDenied:
		return &exitError{code: exitDenied, err: text, refused: true}
	case codes.FailedPrecondition, codes.AlreadyExists:
		return &exitError{code: exitConflict, err: text, refused: true}
	case codes.InvalidArgument:
		return &exitError{code: exitUsage, err: text, refused: true}
	case codes.Unavailable, codes.DeadlineExceeded:
		return &exitError{code: exitUnavailable, err: fmt.Errorf("%s: %w; %s", strings.Join(addrs, ", "), text, unansweredHint(st))}
	default:
		return &exitError{code: exitFailure, err: text, refused: true}
	}
}

// unansweredHint says what to look at when no answer came. What gRPC met is in its
// words only.
func unansweredHint(st *status.Status) string {
	switch text := st.Message(); {
	case strings.Contains(text, "server preface"):
		return "is that the gRPC port of a node? It is 7077 unless --grpc says otherwise, and another one than for HTTP"
	case strings.Contains(text, "Error while dialing"):
		return "is a node running there?"
	}
	return "has the cluster a leader? /readyz on a node's HTTP port says what it waits for"
}

// writeJSON prints a value for programs.
func writeJSON(w io.Writer, v any) {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// table prints aligned columns.
func (c *client) table(header string, rows [][]string) error {
	tw := tabwriter.NewWriter(c.io.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		_, _ = fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func ago(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return seconds(time.Since(time.UnixMilli(ms)).Seconds())
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
