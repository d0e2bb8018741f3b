package ops

import (
	"encoding/json"
	"net/http"
	"os"
	"runtime"
	"syscall"
)

// RegisterVars adds /debug/vars. status is asked for the state of consensus, to be shown as JSON.
func RegisterVars(mux *http.ServeMux, status func() any) {
	mux.Handle("/debug/vars", GetOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		body, err := json.Marshal(map[string]any{
			"cmdline": os.Args, "memstats": &memory, "file_descriptor_limit": fdLimit(), "raft.status": status(),
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(body)
	})))
}

// fdLimit is the number of files that the process may have open, 0 if unknown.
func fdLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

// fdUsed is the number of files that the process has open, 0 if unknown.
func fdUsed() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names)
}
