package embed

import (
	"errors"
	"log/slog"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/wal"
)

// adviseOnDamage says what to do if err is about damaged data of this member.
func adviseOnDamage(logger *slog.Logger, dataDir string, err error) {
	const remedy = "stop this member and run: quoin rebuild --data-dir DIR --endpoints CLIENT-URLS-OF-OTHER-MEMBERS; then start it again"
	var file *backend.CorruptError
	var log *wal.CorruptionError
	switch {
	case errors.As(err, &file):
		logger.Error("the database file of this member is damaged; it serves nobody any more",
			"file", file.Path, "offset", file.Offset, "bucket", file.Bucket, "cause", file.Cause.Error(), "data-dir", dataDir, "remedy", remedy)
	case errors.As(err, &log):
		logger.Error("the log of this member is damaged; it serves nobody any more",
			"file", log.File, "offset", log.Offset, "cause", log.Err.Error(), "data-dir", dataDir, "remedy", remedy)
	}
}
