package rebuild

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/internal/ctl"
)

// flags are those of the command.
type flags struct {
	dataDir, walDir, memberID string
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
	dialer := ctl.NewDialer(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd, dialer) }
	return cmd
}

func (f *flags) run(cmd *cobra.Command, dialer *ctl.Dialer) (err error) {
	if f.dataDir == "" || !cmd.Flags().Changed("endpoints") {
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
	etcd, err := dialer.Dial(cmd, dialer.Endpoints()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	return Run(cmd.Context(), o, &client{
		etcd: etcd, endpoints: dialer.Endpoints(), dial: func(endpoint string) (*clientv3.Client, error) { return dialer.Dial(cmd, endpoint) },
	})
}
