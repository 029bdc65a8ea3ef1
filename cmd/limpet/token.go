package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func newToken(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make tokens for SDKs and operators"}
	req := &limpetv1.CreateTokenRequest{}
	var ttl time.Duration
	create := &cobra.Command{
		Use: "create", Short: "Sign a new token", Args: cobra.NoArgs,
		Annotations: map[string]string{"grpc_address": "--address", "ttl_seconds": "--ttl"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < time.Second {
				return &exitError{code: exitUsage, err: fmt.Errorf("--ttl is %s: must be 1s or more", ttl)}
			}
			req.TtlSeconds = int64(ttl / time.Second)
			return c.do(cmd.Context(), c.wait, func(ctx context.Context, a limpetv1.AdminClient) error {
				res, err := a.CreateToken(ctx, req)
				if err != nil {
					return err
				}
				return c.said(map[string]any{"token": res.GetToken()}, "%s", res.GetToken())
			})
		},
	}
	create.Flags().StringVar(&req.Role, "role", "sdk", "sdk: workers and clients; admin: this command line too")
	create.Flags().DurationVar(&ttl, "ttl", 365*24*time.Hour, "life of the token")
	create.Flags().StringVar(&req.GrpcAddress, "address", "", "gRPC address put into the token; the Go SDK needs a DNS name, others take ipv4:a:p,b:p")
	cmd.AddCommand(create)
	return cmd
}

func newKeygen(io stdio) *cobra.Command {
	return &cobra.Command{
		Use: "keygen", Short: "Make a cluster key: the shared secret of the nodes", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := newClusterKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(io.out, key)
			return err
		},
	}
}

func newClusterKey() (string, error) {
	const size = 32
	key := make([]byte, size)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("make a cluster key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

func newConfig(io stdio) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a node's settings"}
	s := defaultSettings()
	var file string
	validate := &cobra.Command{
		Use: "validate", Short: "Read settings as `limpet server` would, and say what is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.load(cmd.Flags(), file, os.LookupEnv); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			if err := s.check(); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			if _, err := s.clusterConfig(); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			_, err := fmt.Fprintln(io.out, "the settings are good")
			return err
		},
	}
	validate.Flags().StringVar(&file, "config", "", "YAML file of settings")
	s.bind(validate.Flags())
	cmd.AddCommand(validate)
	return cmd
}
