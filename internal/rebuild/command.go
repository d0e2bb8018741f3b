package rebuild

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// flags are those of the command.
type flags struct {
	dataDir, walDir, memberID string
	endpoints                 []string
	user                      string
	caFile, certFile, keyFile string
	skipVerify                bool
}

// Command is `quoin rebuild`.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "rebuild --data-dir DIR --endpoints URLS",
		Short: "Give a stopped member whose data is damaged the data of its cluster",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "the member's data directory")
	cmd.Flags().StringVar(&f.walDir, "wal-dir", "", "directory of its log, if that is elsewhere")
	cmd.Flags().StringVar(&f.memberID, "member-id", "", "the member's id in hexadecimal, if its log cannot be read")
	cmd.Flags().StringSliceVar(&f.endpoints, "endpoints", nil, "client URLs of the other members")
	cmd.Flags().StringVar(&f.user, "user", "", "user:password")
	cmd.Flags().StringVar(&f.caFile, "cacert", "", "file with the certificate authorities to trust for the servers")
	cmd.Flags().StringVar(&f.certFile, "cert", "", "file with the client's own certificate")
	cmd.Flags().StringVar(&f.keyFile, "key", "", "file with the key of --cert")
	cmd.Flags().BoolVar(&f.skipVerify, "insecure-skip-tls-verify", false, "accept any server certificate")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

func (f *flags) run(cmd *cobra.Command) (err error) {
	if f.dataDir == "" || len(f.endpoints) == 0 {
		return errors.New("--data-dir and --endpoints are needed")
	}
	if _, err := os.Stat(f.dataDir); err != nil {
		return err
	}
	o := Options{
		DataDir: f.dataDir, WALDir: f.walDir, Now: time.Now(),
		Say: func(format string, args ...any) { cmd.Printf(format+"\n", args...) },
	}
	if f.memberID != "" {
		if o.MemberID, err = strconv.ParseUint(f.memberID, 16, 64); err != nil {
			return fmt.Errorf("--member-id: %w", err)
		}
	}
	security, err := f.tls()
	if err != nil {
		return err
	}
	user, password, _ := strings.Cut(f.user, ":")
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: f.endpoints, DialTimeout: askTimeout, Username: user, Password: password, TLS: security,
		Context: cmd.Context(), Logger: zap.NewNop(), // the error that is returned says it all
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	return Run(cmd.Context(), o, &client{etcd: etcd, endpoints: f.endpoints})
}

// tls returns nil for clear text.
func (f *flags) tls() (*tls.Config, error) {
	if f.caFile == "" && f.certFile == "" && !f.skipVerify && !strings.HasPrefix(f.endpoints[0], "https://") {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.skipVerify}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.caFile)
		}
	}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
