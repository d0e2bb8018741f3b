package ctl

import (
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Dialer is the connection flags of the client commands, for a command of another room that asks each server for itself.
type Dialer struct{ connection *connection }

// NewDialer adds the connection flags to a command, and reads their environment variables before it runs.
func NewDialer(cmd *cobra.Command) *Dialer {
	d := &Dialer{newConnection(cmd.Flags())}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		return d.connection.discover(cmd.Context())
	}
	return d
}

// Endpoints are the addresses that were given.
func (d *Dialer) Endpoints() []string { return d.connection.endpoints }

// Timeout is how long one question to a server may take.
func (d *Dialer) Timeout() time.Duration { return d.connection.commandTimeout }

// Dial returns a client of these servers, which the caller closes. It lives as long as the command.
func (d *Dialer) Dial(cmd *cobra.Command, endpoints ...string) (*clientv3.Client, error) {
	some := *d.connection
	some.endpoints = endpoints
	return some.dial(cmd)
}
