package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// flags are those of the command.
type flags struct {
	listen    string
	endpoints []string
	retry     time.Duration
	discovery discovery
}

// Command is `quoin gateway`, whose one subcommand is start; log makes the logger. It runs until the context of the command ends.
func Command(log func() *slog.Logger) *cobra.Command {
	gateway := &cobra.Command{Use: "gateway <subcommand>", Short: "Pass connections of clients on to the members of a cluster"}
	f := &flags{}
	start := &cobra.Command{
		Use: "start", Short: "Start passing connections on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), log()) },
	}
	set := start.Flags()
	set.StringVar(&f.listen, "listen-addr", "127.0.0.1:23790", "address to listen on")
	set.StringSliceVar(&f.endpoints, "endpoints", []string{"127.0.0.1:2379"}, "endpoints of the cluster, comma separated")
	set.DurationVar(&f.retry, "retry-delay", time.Minute, "time between two looks at endpoints that could not be reached")
	set.StringVar(&f.discovery.Domain, "discovery-srv", "", "DNS domain whose SRV records name the endpoints")
	set.StringVar(&f.discovery.Name, "discovery-srv-name", "", "suffix of the service that is looked up there: etcd-client-ssl, etcd-client")
	set.BoolVar(&f.discovery.Insecure, "insecure-discovery", false, "take endpoints without TLS from there as well")
	set.StringVar(&f.discovery.trustedCA, "trusted-ca-file", "", "file of the authorities that certificates of endpoints found there are checked against")
	gateway.AddCommand(start)
	return gateway
}

func (f *flags) run(ctx context.Context, logger *slog.Logger) error {
	if f.retry <= 0 {
		return fmt.Errorf("--retry-delay must be positive, not %v", f.retry)
	}
	endpoints, err := f.find(ctx, logger)
	if err != nil {
		return err
	}
	var how net.ListenConfig
	l, err := how.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	var addresses []string
	for _, e := range endpoints {
		addresses = append(addresses, e.Address)
	}
	logger.Info("ready to proxy client requests", "address", l.Addr().String(), "endpoints", addresses)
	return NewGateway(endpoints, f.retry, logger).Serve(ctx, l)
}

func (f *flags) find(ctx context.Context, logger *slog.Logger) ([]Endpoint, error) {
	if f.discovery.Domain != "" {
		d := f.discovery
		d.Resolver, d.logger = net.DefaultResolver, logger
		return d.find(ctx)
	}
	var list []Endpoint
	for _, one := range f.endpoints {
		address, err := withoutScheme(one)
		if err != nil {
			return nil, err
		}
		list = append(list, Endpoint{Address: address})
	}
	if len(list) == 0 {
		return nil, errors.New("no endpoint")
	}
	return list, nil
}

// withoutScheme returns the host and port of an endpoint, which may be written as a URL.
func withoutScheme(endpoint string) (string, error) {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		endpoint = rest
	}
	if _, port, err := net.SplitHostPort(endpoint); err != nil || port == "" {
		return "", fmt.Errorf("endpoint %q: expected host:port", endpoint)
	}
	return endpoint, nil
}
