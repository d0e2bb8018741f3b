package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/config"
)

// etcd is a Registry in a running cluster, of this server or of etcd.
type etcd struct {
	client  *clientv3.Client
	timeout time.Duration // of one request
}

// openEtcd connects to a discovery service.
func openEtcd(ctx context.Context, d *config.Discovery) (Registry, error) {
	secure, err := discoveryTLS(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	user, password, _ := strings.Cut(d.User, ":")
	if d.Password != "" {
		user, password = d.User, d.Password
	}
	client, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: d.Endpoints, TLS: secure, Username: user, Password: password,
		DialTimeout: d.DialTimeout, DialKeepAliveTime: d.KeepAliveTime, DialKeepAliveTimeout: d.KeepAliveTimeout,
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, classify(err)
	}
	return &etcd{client, d.RequestTimeout}, nil
}

// discoveryTLS is nil if the connection is not to be secured beyond what the endpoints' schemes say.
func discoveryTLS(d *config.Discovery) (*tls.Config, error) {
	if d.Insecure && !d.SkipVerify && d.CertFile+d.KeyFile+d.TrustedCAFile == "" {
		return nil, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: d.SkipVerify}
	if d.CertFile+d.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(d.CertFile, d.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--discovery-cert and --discovery-key: %w", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	if d.TrustedCAFile != "" {
		text, err := os.ReadFile(d.TrustedCAFile)
		if err != nil {
			return nil, fmt.Errorf("--discovery-cacert: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--discovery-cacert: %s holds no certificate", d.TrustedCAFile)
		}
	}
	return secure, nil
}

// classify wraps the errors that another try would not mend.
func classify(err error) error {
	code := status.Code(err)
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.Unimplemented:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Get reads one key.
func (e *etcd) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	reply, err := e.client.Get(ctx, key)
	if err != nil || len(reply.Kvs) == 0 {
		return "", false, classify(err)
	}
	return string(reply.Kvs[0].Value), true, nil
}

// List reads what lies under prefix.
func (e *etcd) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	reply, err := e.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, 0, classify(err)
	}
	entries := make([]Entry, len(reply.Kvs))
	for i, kv := range reply.Kvs {
		entries[i] = Entry{string(kv.Key), string(kv.Value)}
	}
	return entries, reply.Header.Revision, nil
}

// Put writes one key.
func (e *etcd) Put(ctx context.Context, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	_, err := e.client.Put(ctx, key, value)
	return classify(err)
}

// Wait watches what lies under prefix for its next change. A watch that ends is a reason to look again.
func (e *etcd) Wait(ctx context.Context, prefix string, after int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := e.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1))
	select {
	case r, ok := <-changes:
		if ok && r.Err() != nil && r.CompactRevision == 0 {
			return classify(r.Err())
		}
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close disconnects.
func (e *etcd) Close() error {
	if err := e.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
