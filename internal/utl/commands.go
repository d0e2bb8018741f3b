package utl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/ctl"
	"github.com/quoin-kv/quoin/internal/offline"
)

func statusCommand(f *format) *cobra.Command {
	return &cobra.Command{
		Use: "status <filename>", Short: "Print what a snapshot, or any database file, says of itself",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return wrong("snapshot status requires exactly one argument")
			}
			if err := f.check(); err != nil {
				return err
			}
			s, err := offline.ReadStatus(args[0])
			if err != nil {
				return failed(err)
			}
			return f.show(cmd.OutOrStdout(), result{
				json: struct {
					Hash      uint32 `json:"hash"`
					Revision  int64  `json:"revision"`
					TotalKey  int64  `json:"totalKey"`
					TotalSize int64  `json:"totalSize"`
					Version   string `json:"version"`
				}{s.Hash, s.Revision, s.TotalKeys, s.TotalSize, s.Version},
				columns: []column{
					{title: "HASH", field: "Hash", text: strconv.FormatUint(uint64(s.Hash), 16), value: s.Hash},
					number("REVISION", "Revision", s.Revision),
					number("TOTAL KEYS", "Keys", s.TotalKeys),
					{title: "TOTAL SIZE", field: "Size", text: ctl.FormatBytes(s.TotalSize), value: s.TotalSize},
					{title: "VERSION", field: "Version", text: s.Version},
				},
			})
		},
	}
}

func hashCommand(f *format) *cobra.Command {
	var revision int64
	cmd := &cobra.Command{Use: "hashkv <filename>", Short: "Hash the history in a file", Args: cobra.ExactArgs(1)}
	cmd.Flags().Int64Var(&revision, "rev", 0, "up to this revision (0: all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		h, err := offline.HashKV(args[0], revision)
		if err != nil {
			return failed(err)
		}
		return f.show(cmd.OutOrStdout(), result{
			json: struct {
				Hash            uint32 `json:"hash"`
				HashRevision    int64  `json:"hashRevision"`
				CompactRevision int64  `json:"compactRevision"`
			}{h.Hash, h.Rev, h.CompactRev},
			columns: []column{
				number("HASH", "Hash", int64(h.Hash)), number("HASH REVISION", "Hash revision", h.Rev),
				number("COMPACT REVISION", "Compact revision", h.CompactRev),
			},
		})
	}
	return cmd
}

func defragCommand() *cobra.Command {
	var dir string
	var progress bool
	cmd := &cobra.Command{Use: "defrag", Short: "Rewrite the database file of a member that does not run", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&dir, "data-dir", "", "the member's data directory (required)")
	cmd.Flags().BoolVar(&progress, "progress", false, "show how far it is also if the error stream is no terminal")
	required(cmd, "data-dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p := ctl.NewProgress(cmd.ErrOrStderr(), progress)
		sizes, err := offline.Defragment(cmd.Context(), dir, p.Tell)
		p.End()
		if err != nil {
			//lint:ignore ST1005 these are the words that scripts look for
			return failed(fmt.Errorf("Failed to defragment etcd data[%s] (%w)", dir, err))
		}
		logger(cmd).Info("finished defragmenting directory", "data-dir", dir, "bytes_before", sizes.Before, "bytes_after", sizes.After)
		return nil
	}
	return cmd
}

func migrateCommand() *cobra.Command {
	var o offline.MigrateOptions
	var target string
	cmd := &cobra.Command{Use: "migrate", Short: "Prepare the files of a member that does not run for a server of another version", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&o.DataDir, "data-dir", "", "the member's data directory (required)")
	cmd.Flags().StringVar(&o.WALDir, "wal-dir", "", "directory of the log, if it is not inside the data directory")
	cmd.Flags().StringVar(&target, "target-version", "", "version of the server, X.Y, at least 3.5 (required)")
	cmd.Flags().BoolVar(&o.Force, "force", false, "even if the log holds what a server of that version does not know")
	required(cmd, "data-dir", "target-version")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.Target, err = offline.ParseTarget(target); err != nil {
			return failed(err)
		}
		was, steps, err := offline.Migrate(o)
		if err != nil {
			return failed(err)
		}
		if len(steps) == 0 {
			logger(cmd).Info("storage version up-to-date", "storage-version", was.String())
		}
		for _, v := range steps {
			logger(cmd).Info("updated storage version", "new-storage-version", v.String())
		}
		return nil
	}
	return cmd
}

func required(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was added a moment ago
		}
	}
}

func restoreCommand() *cobra.Command {
	var o offline.RestoreOptions
	var urls string
	var progress bool
	cmd := &cobra.Command{
		Use: "restore <filename> --data-dir {output dir} [options]", Short: "Make the data directory of a member of a new cluster of a snapshot",
		Long: "Make the data directory of a member of a new cluster of a snapshot. It is done once for each member of the new cluster, with its own\n" +
			"--name and --initial-advertise-peer-urls and the same --initial-cluster; then the members are started.",
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data-dir", "", "directory to make (default: NAME.etcd)")
	f.StringVar(&o.WALDir, "wal-dir", "", "directory of the log, if it is to be outside of the data directory")
	f.StringVar(&o.Name, "name", "default", "the member's name")
	f.StringVar(&o.InitialCluster, "initial-cluster", "default=http://localhost:2380", "all members of the new cluster")
	f.StringVar(&o.Token, "initial-cluster-token", "etcd-cluster", "distinguishes the new cluster from others")
	f.StringVar(&urls, "initial-advertise-peer-urls", "http://localhost:2380", "where other members reach this one")
	f.BoolVar(&o.SkipHashCheck, "skip-hash-check", false, "accept a file without its checksum, such as a copy of a database file")
	f.Uint64Var(&o.BumpRevision, "bump-revision", 0, "how far to raise the revision, so that clients do not see it go back")
	f.BoolVar(&o.MarkCompacted, "mark-compacted", false, "all history below the raised revision counts as compacted (goes with --bump-revision)")
	f.Uint64("initial-memory-map-size", 10<<30, "accepted, and without effect")
	f.BoolVar(&progress, "progress", false, "show how far it is also if the error stream is no terminal")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrong("snapshot restore requires exactly one argument")
		}
		p := ctl.NewProgress(cmd.ErrOrStderr(), progress)
		o.Snapshot, o.AdvertisePeerURLs, o.Progress = args[0], strings.Split(urls, ","), p.Tell
		err := offline.Restore(cmd.Context(), o)
		p.End()
		if err == nil {
			logger(cmd).Info("snapshot restored", "path", o.Snapshot, "data-dir", o.DataDir)
		}
		return restoreFailed(err)
	}
	return cmd
}

// restoreFailed gives the failures of a restoration their exit codes.
func restoreFailed(err error) error {
	var damaged *backend.CorruptError
	switch {
	case errors.Is(err, offline.ErrBumpAlone):
		return wrong("%w", err)
	case errors.As(err, &damaged):
		return failed(fmt.Errorf("the snapshot is damaged: %w", err))
	}
	return failed(err)
}
